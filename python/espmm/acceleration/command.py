"""``python -m espmm accelerate MODEL -o FILE --check STRUCTURES``: a model accelerated, compared with itself, and saved."""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Optional, Sequence

import torch

from . import _CLIENTS, accelerate, client_of

#: Largest relative difference that is accepted, by the model's dtype.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}

#: Unit of each property, and the size below which differences are taken relative to it, not to the property itself.
PROPERTIES = {"energy": ("eV", 1.0), "forces": ("eV/A", 1.0), "stress": ("eV/A^3", 0.01)}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "accelerate",
        help="replace the convolutions of a MACE, NequIP or SevenNet model",
        description="Replaces the convolutions of a model by espmm's, compares energies, forces and stresses before and after, and saves "
        "the model with torch.save. MODEL is a file of MACE (torch.save), SevenNet (checkpoint, or a name such as 7net-0) or "
        "NequIP (.ckpt; a .nequip.zip can be checked, not saved). It is unpickled: open only files that you trust.",
        epilog="example: python -m espmm accelerate model.pt -o fast.pt --check structure.xyz",
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the accelerated model is saved")
    parser.add_argument("--check", metavar="STRUCTURES", help="a file that ase reads: nothing is saved if results differ on one of them")
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help="largest relative difference (default 1e-5 for float32, 1e-10 for float64); below "
        + ", ".join(f"{size:g} {unit}" for unit, size in PROPERTIES.values())
        + " relative to these",
    )
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; the exit status is 1 if results differ by more than the tolerance."""
    device = torch.device(arguments.device)
    model = load(arguments.model)
    client = import_module(_CLIENTS[_client(model)], __package__)
    structures = _structures(arguments.check) if arguments.check else []
    calculator = client.calculator(model, str(device))
    before = [evaluate(calculator, atoms) for atoms in structures]
    _, report = accelerate(calculator)
    print(report)
    failed = []
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    tolerance = TOLERANCE.get(dtype, 1e-5) if arguments.tolerance is None else arguments.tolerance
    for i, (atoms, old) in enumerate(zip(structures, before)):
        new = evaluate(calculator, atoms)
        name = f"{atoms.get_chemical_formula()}, {len(atoms)} atoms, {str(dtype)[6:]}, {device.type}"
        print(f"{name}: {1e3 * old.seconds:.4g} ms before, {1e3 * new.seconds:.4g} ms now, {old.seconds / new.seconds:.3g} times as fast")
        for key, value in old.results.items():
            unit, size = PROPERTIES[key]
            largest, difference = float(abs(value).max()), float(abs(new.results[key] - value).max())
            relative = difference / max(largest, size)
            print(f"  {key:7} largest {largest:.6g} {unit}, largest difference {difference:.2g} {unit}, relative {relative:.1e}")
            if not relative <= tolerance:
                failed.append(f"{key} of structure {i} by {relative:.1e}")
    if failed:
        kept = f"; {arguments.output} is not written" if arguments.output else ""
        print(f"error: relative differences above the tolerance of {tolerance:g}: {', '.join(failed)}{kept}", file=sys.stderr)
        return 1
    if arguments.output:
        save(model.cpu(), Path(arguments.output))
        print(f"{arguments.output} is written" + ("" if structures else "; nothing was checked (--check STRUCTURES)"))
    return 0


class Evaluation(NamedTuple):
    """Results by property as arrays, and the time of one call once everything is compiled."""

    results: dict[str, Any]
    seconds: float


def evaluate(calculator: Any, atoms: Any, warmup: int = 3, repeat: int = 3) -> Evaluation:
    """Energy, forces and, in a cell, stress by an ASE calculator, a few times."""
    import numpy

    keys = ["energy", "forces"] + (["stress"] if atoms.cell.rank == 3 and atoms.pbc.all() else [])
    times = []
    for _ in range(warmup + repeat):
        calculator.reset()
        begin = time.perf_counter()
        calculator.calculate(atoms, keys, ["positions", "numbers", "cell", "pbc"])
        times.append(time.perf_counter() - begin)  # results are on the host: nothing is pending
    results = {key: numpy.array(calculator.results[key], dtype=float) for key in keys if key in calculator.results}
    return Evaluation(results, statistics.median(times[warmup:]))


def load(name: str) -> torch.nn.Module:
    """A model from a file of MACE, NequIP or SevenNet, or by the name of one of SevenNet's.

    Raises:
        ValueError: it is not one of these.
    """
    if name.endswith((".ckpt", ".nequip.zip")):
        from nequip.model.saved_models.load_utils import load_saved_model
        from nequip.utils.global_state import set_global_state

        set_global_state()
        return load_saved_model(name).eval()
    if not os.path.exists(name):
        try:
            from sevenn.util import load_checkpoint
        except ImportError:
            raise ValueError(f"expected a file, there is no {name}") from None
        return _sevennet(load_checkpoint(name))
    try:
        content = torch.load(name, map_location="cpu", weights_only=False)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"expected {name} to be a model saved by torch.save: {error}") from None
    if isinstance(content, dict) and "model_state_dict" in content and "config" in content:
        from sevenn.util import load_checkpoint

        return _sevennet(load_checkpoint(name))
    if isinstance(content, torch.jit.ScriptModule):
        raise ValueError(f"expected an eager model, got TorchScript in {name}: accelerate the model before it is scripted")
    if not isinstance(content, torch.nn.Module):
        raise ValueError(f"expected a model in {name}, got {type(content).__name__}")
    return content.eval()


def _sevennet(checkpoint: Any) -> torch.nn.Module:
    return checkpoint.build_model().eval()


def _client(model: torch.nn.Module) -> str:
    for module in model.modules():
        client = client_of(module)
        if client is not None:
            return client
    raise ValueError(f"expected a model of {', '.join(_CLIENTS)}, got {type(model).__name__}")


def _structures(path: str) -> Sequence[Any]:
    try:
        import ase.io
    except ImportError:
        raise ValueError("--check needs ase, which is not installed (pip install ase)") from None
    if not os.path.exists(path):
        raise ValueError(f"expected a file of structures, there is no {path}")
    return ase.io.read(path, index=":")


def save(model: torch.nn.Module, path: Path) -> None:
    """torch.save, to a file that is there whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent or ".", prefix=path.name, suffix=".tmp")
    os.close(handle)
    written: Optional[str] = temporary
    try:
        try:
            torch.save(model, temporary)
        except (pickle.PicklingError, AttributeError, ModuleNotFoundError) as error:
            raise ValueError(
                f"expected a model that torch.save takes; one from a package of NequIP's is accelerated after it is loaded: {error}"
            ) from None
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        written = None
    finally:
        if written is not None:
            os.unlink(written)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
