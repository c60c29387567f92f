"""libespmm's C API (``include/espmm-c/espmm.h``), through ctypes.

Why ctypes: one shared library then serves every CPython, and programs without Python; a pybind11 module would be one
file for each CPython version, each with its own copy of LLVM inside. A call costs about a microsecond more.

The library is looked for, and loaded, when it is first needed: ``$ESPMM_LIBRARY``, then ``lib/libespmm.so`` beside
this file, then ``build/lib/libespmm.so`` of the repository that this file lies in.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
from pathlib import Path
from typing import Any, Optional, Sequence

from .errors import ProblemError, UnsupportedError

OK, INVALID, UNSUPPORTED, NO_DEVICE, OUT_OF_RANGE, INTERNAL = range(6)

_ERRORS: dict[int, type[Exception]] = {
    INVALID: ProblemError,
    UNSUPPORTED: UnsupportedError,
    NO_DEVICE: RuntimeError,
    OUT_OF_RANGE: IndexError,
    INTERNAL: RuntimeError,
}

Sizes = ctypes.c_int64 * 3

_text = ctypes.c_char_p
_handle = ctypes.c_void_p
_out_text = ctypes.POINTER(ctypes.c_void_p)
_status = ctypes.c_int

#: name: (result, arguments)
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "espmm_version": (_text, []),
    "espmm_llvm_version": (_text, []),
    "espmm_last_error": (_text, []),
    "espmm_free": (None, [ctypes.c_void_p]),
    "espmm_opt": (_status, [_text, _text, _out_text]),
    "espmm_compile": (_status, [_text, _text, ctypes.POINTER(_handle)]),
    "espmm_executable_release": (None, [_handle]),
    "espmm_executable_manifest": (_text, [_handle]),
    "espmm_executable_code": (_status, [_handle, _text, _out_text]),
    "espmm_executable_load": (_status, [_handle, ctypes.c_int]),
    "espmm_executable_use": (_status, [_handle, ctypes.c_int, _out_text]),
    "espmm_executable_scratch": (_status, [_handle, Sizes, ctypes.POINTER(ctypes.c_int64)]),
    "espmm_launch": (
        _status,
        [
            _handle,
            ctypes.c_int,
            ctypes.c_void_p,
            Sizes,
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_int64,
        ],
    ),
    "espmm_plan_build": (
        _status,
        [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        + [ctypes.c_int64] * 3
        + [ctypes.c_void_p] * 4
        + [ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int64)],
    ),
    "espmm_set_num_threads": (None, [ctypes.c_int]),
    "espmm_get_num_threads": (ctypes.c_int, []),
    "espmm_follow_num_threads": (None, [ctypes.c_int]),
    "espmm_info": (_status, [_out_text]),
    "espmm_cache_list": (_status, [_out_text]),
    "espmm_cache_clear": (_status, [ctypes.POINTER(ctypes.c_int)]),
    "espmm_clebsch_gordan": (_status, [ctypes.c_int] * 3 + [ctypes.c_void_p]),
}

_lock = threading.Lock()
_library: Optional[ctypes.CDLL] = None


def candidates() -> list[Path]:
    """Where the library is looked for, in order."""
    here = Path(__file__).resolve().parent
    named = os.environ.get("ESPMM_LIBRARY")
    if named:
        return [Path(named)]
    return [here / "lib" / "libespmm.so", here.parent.parent / "build" / "lib" / "libespmm.so"]


def torch_library() -> str:
    """The path of ``libespmm_torch.so``: ``torch.ops.espmm``, for ``torch.ops.load_library``, C++ programs and AOTInductor packages.

    It lies beside ``libespmm.so``, which it needs, and works without Python; it is for torch 2.10 and later. Loads nothing.

    Raises:
        ImportError: it is not there; the message says where it was looked for.
    """
    places = [path.with_name("libespmm_torch.so") for path in candidates()]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        raise ImportError(
            "libespmm_torch.so was not found; looked for "
            + ", ".join(map(str, places))
            + " (a build makes it where there is a torch with the headers of its stable ABI, 2.10 or later)"
        )
    return str(path)


def is_available() -> bool:
    """Whether there is a library to load."""
    return _library is not None or any(path.is_file() for path in candidates())


def library() -> ctypes.CDLL:
    """The loaded library.

    Raises:
        ImportError: it is not there, or does not load; the message says where it was looked for.
    """
    global _library
    if _library is None:
        with _lock:
            if _library is None:
                _library = _load()
    return _library


def _load() -> ctypes.CDLL:
    places = candidates()
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        raise ImportError(
            "libespmm.so was not found; looked for "
            + ", ".join(map(str, places))
            + " (set ESPMM_LIBRARY to its path, or build it with `make`)"
        )
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"{path} does not load: {error}") from error
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(loaded, name)
        except AttributeError:
            raise ImportError(f"{path} has no function {name}: it is not the library of this version of espmm") from None
        function.restype, function.argtypes = result, arguments
    return loaded


def check(status: int) -> None:
    """Raises the exception for a status that is not OK, with the library's message."""
    if status != OK:
        message = library().espmm_last_error().decode(errors="replace")
        raise _ERRORS.get(status, RuntimeError)(message)


def _take(pointer: ctypes.c_void_p) -> str:
    """The string at a ``char *`` that the library gave us, which is released."""
    try:
        return ctypes.string_at(pointer.value).decode()
    finally:
        library().espmm_free(pointer)


def opt(ir: str, pipeline: str) -> str:
    """The module after a pass pipeline, as text."""
    out = ctypes.c_void_p()
    check(library().espmm_opt(ir.encode(), pipeline.encode(), ctypes.byref(out)))
    return _take(out)


def info() -> dict:
    """Versions, host, CUDA driver and devices, ptxas, cache."""
    out = ctypes.c_void_p()
    check(library().espmm_info(ctypes.byref(out)))
    return json.loads(_take(out))


def cache_list() -> dict:
    """The disk cache's folder, bound and entries, each checked."""
    out = ctypes.c_void_p()
    check(library().espmm_cache_list(ctypes.byref(out)))
    return json.loads(_take(out))


def cache_clear() -> int:
    """Removes all compiled code from the disk cache; gives how many files."""
    removed = ctypes.c_int()
    check(library().espmm_cache_clear(ctypes.byref(removed)))
    return removed.value


def version() -> str:
    return library().espmm_version().decode()


def set_num_threads(threads: int) -> None:
    library().espmm_set_num_threads(threads)


def follow_num_threads(threads: int) -> None:
    library().espmm_follow_num_threads(threads)


def get_num_threads() -> int:
    return library().espmm_get_num_threads()


def clebsch_gordan(l1: int, l2: int, l3: int) -> list[float]:
    """The real Clebsch-Gordan tensor, row-major ``[2 l1 + 1][2 l2 + 1][2 l3 + 1]``."""
    out = (ctypes.c_double * ((2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)))()
    check(library().espmm_clebsch_gordan(l1, l2, l3, out))
    return list(out)


class Executable:
    """A compiled program; released with the object.

    Attributes:
        manifest: what the compiler says of it (``docs/Architecture.md``, section 3).
    """

    def __init__(self, ir: str, pipeline: str) -> None:
        self._handle = ctypes.c_void_p()
        self._library = library()
        check(self._library.espmm_compile(ir.encode(), pipeline.encode(), ctypes.byref(self._handle)))
        self.manifest: dict = json.loads(self._library.espmm_executable_manifest(self._handle))

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle:
            self._library.espmm_executable_release(handle)

    @property
    def handle(self) -> int:
        """The address of the library's own object."""
        return self._handle.value or 0

    def code(self, kind: str) -> str:
        """``"ptx"``, ``"assembly"``, ``"llvmir"`` or ``"sass_info"``."""
        out = ctypes.c_void_p()
        check(self._library.espmm_executable_code(self._handle, kind.encode(), ctypes.byref(out)))
        return _take(out)

    def load(self, device: int) -> None:
        """Gets ready to run on a device (-1: the host)."""
        check(self._library.espmm_executable_load(self._handle, device))

    def use(self, device: int) -> list[dict]:
        """What each kernel takes of a CUDA device, as its driver says."""
        out = ctypes.c_void_p()
        check(self._library.espmm_executable_use(self._handle, device, ctypes.byref(out)))
        return json.loads(_take(out))

    def scratch(self, sizes: "ctypes.Array[ctypes.c_int64]") -> int:
        """Bytes of scratch for sizes (E, R, S)."""
        out = ctypes.c_int64()
        check(self._library.espmm_executable_scratch(self._handle, sizes, ctypes.byref(out)))
        return out.value

    def launch(
        self,
        device: int,
        stream: Optional[int],
        sizes: "ctypes.Array[ctypes.c_int64]",
        pointers: Sequence[Optional[int]],
        scratch: Optional[int],
        scratch_bytes: int,
    ) -> None:
        """Runs the program on data pointers: arguments, plan arrays, results."""
        count = len(pointers)
        status = self._library.espmm_launch(
            self._handle, device, stream, sizes, (ctypes.c_void_p * count)(*pointers), count, scratch, scratch_bytes
        )
        if status:
            check(status)


def build_side(
    index: int,
    other: int,
    index_bits: int,
    num_edges: int,
    num_nodes: int,
    num_other: int,
    offsets: int,
    order: int,
    other_out: int,
    parts: int,
) -> bool:
    """One side of a plan on the host, between data pointers; returns whether the edges were sorted already.

    Raises:
        BadEdge: an index is out of range.
    """
    is_sorted = ctypes.c_int()
    bad_edge = ctypes.c_int64(-1)
    status = library().espmm_plan_build(
        index, other, index_bits, num_edges, num_nodes, num_other, offsets, order, other_out, parts,
        ctypes.byref(is_sorted), ctypes.byref(bad_edge),
    )  # fmt: skip
    if status == OUT_OF_RANGE:
        raise BadEdge(bad_edge.value)
    check(status)
    return bool(is_sorted.value)


class BadEdge(IndexError):
    """An edge with an index out of range; callers say which and why."""

    def __init__(self, edge: int) -> None:
        super().__init__(f"edge {edge} has an index out of range")
        self.edge = edge
