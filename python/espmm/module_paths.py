"""Errors name the module of the model that they come from: ``layers.1.conv: expected w of shape ...``.

Modules have no names of their own. Nothing is noted while all goes well; when an error is raised, the modules that live are searched
for those that hold the one that raised it. In a backward pass, where no module is called, the program that failed leads to those that have it.

What is traced runs without modules: there the path goes into the program that is recorded, as it is while it is traced.
"""

from __future__ import annotations

import functools
import gc
from typing import Any, Callable, Iterator, TypeVar

import torch

from .program import Program

F = TypeVar("F", bound=Callable[..., Any])

#: How many paths are named where there are several, such as of layers that share a program.
_MOST = 4

#: What torch.compile and torch.export make of a module is in nobody's mind a part of its path.
_WRAPPED = ("_orig_mod", "_export_root")

_OF_GRADIENT = "backward of "


def names_errors(forward: F) -> F:
    """For a module's ``forward``: an exception that leaves it begins with the module's path in the model, if it is in one."""

    @functools.wraps(forward)
    def call(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        try:
            return forward(self, *args, **kwargs)
        except Exception as error:
            if not torch.compiler.is_compiling():
                _name(error, "", lambda: [self])
            raise

    return call  # type: ignore[return-value]


def name_gradient(error: Exception, program: Program) -> None:
    """Has an exception of a backward pass begin with the path of the module whose gradient it is.

    Args:
        program: the one that autograd was to differentiate: a module's own, or a derivative of it.
    """
    _name(error, _OF_GRADIENT, lambda: [m for m in _living() if any(m.__dict__.get(name) is program._root for name in ("_program", "_tf32_program"))])


def _name(error: Exception, prefix: str, find: Callable[[], list[torch.nn.Module]]) -> None:
    # Others' exceptions that carry no text, such as those by which checkpointing ends a forward pass early, are left alone.
    if len(error.args) != 1 or not isinstance(error.args[0], str) or hasattr(error, "espmm_module"):
        return
    name = path_of(find())
    if name and not error.args[0].startswith(f"{name}: "):
        error.espmm_module = name  # type: ignore[attr-defined]
        error.args = (f"{prefix}{name}: {error.args[0]}",)


def path_of(modules: list[torch.nn.Module]) -> str:
    """What is said of where these modules are; "" if nothing holds them."""
    names = sorted(set(paths(modules)))
    return " or ".join(names[:_MOST]) + (" or others" if len(names) > _MOST else "")


def of_gradient(module: str) -> str:
    """What is said of where a gradient is of, of any order."""
    return module if not module or module.startswith(_OF_GRADIENT) else _OF_GRADIENT + module


def paths(modules: list[torch.nn.Module]) -> list[str]:
    """The paths of modules in the outermost modules that hold them; none for one that nothing holds."""
    holders: dict[int, list[tuple[str, torch.nn.Module]]] = {}
    for holder in _living():
        for name, module in holder.__dict__.get("_modules", {}).items():
            holders.setdefault(id(module), []).append((name, holder))

    def climb(module: torch.nn.Module, path: tuple[str, ...], seen: frozenset[int]) -> Iterator[str]:
        above = [(name, holder) for name, holder in holders.get(id(module), ()) if id(holder) not in seen]
        for name, holder in above:
            yield from climb(holder, path if name in _WRAPPED else (name, *path), seen | {id(holder)})
        if not above and path:
            yield ".".join(path)

    return [path for module in modules for path in climb(module, (), frozenset({id(module)}))]


def _living() -> list[torch.nn.Module]:
    """All modules of this process."""
    classes, new = {torch.nn.Module}, [torch.nn.Module]
    while new:
        new = [c for known in new for c in type.__subclasses__(known) if c not in classes]
        classes.update(new)
    return [found for found in gc.get_objects() if type(found) in classes]
