"""Values that are made once: in a thread of their own, or where they are first needed."""

from __future__ import annotations

import os
import threading
from typing import Any, Callable, Generic, Optional, Sequence, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """A value, and the function that makes it.

    Whoever asks while it is being made waits for it. A function that fails raises where the value is asked for, and is
    called again by who asks next. A thread begun by :meth:`begin` is waited for at the interpreter's exit; a forked
    child, which has no such thread, makes the value anew.
    """

    __slots__ = ("_make", "_lock", "_made", "_begun", "_value", "_error")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made = self._begun = False
        self._value: Optional[T] = None
        self._error: Optional[BaseException] = None

    @property
    def made(self) -> bool:
        return self._made

    def begin(self) -> None:
        """Begins to make the value in the background, unless that has begun before. An error waits for :meth:`get`."""
        if self._begun or self._made:
            return
        self._begun = True
        try:
            threading.Thread(target=self._in_background, name="espmm-compile").start()
        except RuntimeError:  # no threads any more: the interpreter is ending, or the system has no more
            pass

    def get(self) -> T:
        """The value."""
        if not self._made:
            with self._lock:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                self._make_now()
        return self._value  # type: ignore[return-value]

    def _in_background(self) -> None:
        with self._lock:
            try:
                self._make_now()
            except BaseException as error:  # noqa: B036  kept for who asks
                self._error = error

    def _make_now(self) -> None:
        if self._made:
            return
        _running.add(self)
        try:
            self._value = self._make()
            self._made = True
        finally:
            _running.discard(self)


def together(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of functions that run at the same time, each in a thread; the first one's in this one.

    Raises:
        what the first function that fails raises; the others run to their end.
    """
    values = [Once(function) for function in functions]
    for value in values[1:]:
        value.begin()
    return [value.get() for value in values]


#: What is being made. A fork may come at any time, but not in the middle of a change of this.
_running: set[Once] = set()


def _after_fork() -> None:
    for value in _running:
        value._lock = threading.Lock()
        value._begun = False
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
