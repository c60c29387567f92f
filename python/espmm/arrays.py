"""Arrays of other libraries, as pointers: ``__array_interface__``, ``__cuda_array_interface__`` and DLPack.

Nothing here imports numpy or torch; an array of theirs brings its own library with it.
"""

from __future__ import annotations

import ctypes
import math
import sys
from typing import Any, NamedTuple, Optional, Sequence

from .dtypes import ITEMSIZE

_TYPESTR = {"<f2": "float16", "<f4": "float32", "<f8": "float64", "<i4": "int32", "<i8": "int64"}
#: (type code, bits) of DLPack.
_DLPACK = {
    (2, 16): "float16", (4, 16): "bfloat16", (2, 32): "float32", (2, 64): "float64", (0, 32): "int32", (0, 64): "int64",
}  # fmt: skip
_NAMES = "float32, float64, bfloat16, float16, int32 or int64"

#: Bytes: the largest vector of a host, and a cache line.
_ALIGNMENT = 64

_CPU, _CUDA, _CUDA_HOST, _CUDA_MANAGED = 1, 2, 3, 13


class View(NamedTuple):
    """A contiguous array: where it lies and what it is. ``device`` is -1 for the host; ``owner`` keeps it alive."""

    pointer: int
    shape: tuple[int, ...]
    dtype: str
    device: int
    owner: Any


class _DLDevice(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _DLDevice),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


def view(array: Any, name: str) -> View:
    """The array as a pointer.

    Args:
        array: anything with one of the three protocols. It has to be contiguous (row-major).
        name: for messages.

    Raises:
        TypeError: no such protocol, an element type that is not float32, float64, bfloat16, float16, int32 or int64, or a device
            that is neither the host nor CUDA.
        ValueError: not contiguous.
    """
    for protocol, device in (("__cuda_array_interface__", None), ("__array_interface__", -1)):
        try:
            interface = getattr(array, protocol, None)
        except RuntimeError as error:  # torch, for tensors that require a gradient
            raise TypeError(f"{name}: {error}") from None
        # bfloat16 has no type string of its own.
        unnamed = interface is not None and interface["typestr"] not in _TYPESTR
        if interface is not None and not (unnamed and hasattr(array, "__dlpack__")):
            return _from_interface(array, interface, device, name)
    if hasattr(array, "__dlpack__"):
        return _from_dlpack(array, name)
    raise TypeError(
        f"expected {name} to be an array (with __array_interface__, __cuda_array_interface__ or __dlpack__), "
        f"got {type(array).__name__}"
    )


def _contiguous(shape: Sequence[int], strides: Optional[Sequence[int]], itemsize: int) -> bool:
    if strides is None or 0 in shape:
        return True
    expected = itemsize
    for extent, stride in zip(reversed(shape), reversed(strides)):
        if extent != 1 and stride != expected:
            return False
        expected *= extent
    return True


def _require_contiguous(contiguous: bool, name: str, strides: Any) -> None:
    if not contiguous:
        raise ValueError(f"expected {name} to be contiguous (row-major), got strides {tuple(strides)}")


def _from_interface(array: Any, interface: dict, device: Optional[int], name: str) -> View:
    dtype = _TYPESTR.get(interface["typestr"])
    if dtype is None:
        raise TypeError(f"expected {name} to have elements {_NAMES}, got {interface['typestr']!r}")
    strides = interface.get("strides")
    _require_contiguous(_contiguous(interface["shape"], strides, int(interface["typestr"][2:])), name, strides)
    if device is None:
        index = getattr(getattr(array, "device", None), "index", None)
        index = getattr(getattr(array, "device", None), "id", 0) if index is None else index
        device = int(index)
    return View(interface["data"][0] or 0, tuple(interface["shape"]), dtype, device, array)


def _from_dlpack(array: Any, name: str) -> View:
    try:
        capsule = array.__dlpack__()
    except (BufferError, RuntimeError) as error:  # torch, for tensors that require a gradient
        raise TypeError(f"{name}: {error}") from None
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _DLTensor.from_address(get(capsule, b"dltensor"))
    dtype = _DLPACK.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
    if dtype is None:
        raise TypeError(
            f"expected {name} to have elements {_NAMES}, got DLPack type code {tensor.code}, "
            f"{tensor.bits} bits, {tensor.lanes} lanes"
        )
    kind = tensor.device.device_type
    if kind not in (_CPU, _CUDA, _CUDA_HOST, _CUDA_MANAGED):
        raise TypeError(f"expected {name} on the host or a CUDA device, got DLPack device type {kind}")
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = tuple(tensor.strides[i] for i in range(tensor.ndim)) if tensor.strides else None
    _require_contiguous(_contiguous(shape, strides, 1), name, strides)
    device = tensor.device.device_id if kind == _CUDA else -1
    # The capsule is not consumed: when it goes, so does its claim on the memory.
    return View((tensor.data or 0) + tensor.byte_offset, shape, dtype, device, capsule)


def empty_like_kind(example: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """An uninitialised array of the example's library and device, on the host at a multiple of 64 bytes.

    Raises:
        TypeError: that library is not known to us; pass ``out=`` instead.
    """
    library = type(example).__module__.partition(".")[0]
    if library == "torch":
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype), device=example.device)
    if library == "numpy":
        # numpy itself aligns to 16 bytes; kernels write past the cache in whole vectors.
        numpy = sys.modules["numpy"]
        size = ITEMSIZE[dtype] * math.prod(shape)
        room = numpy.empty(size + _ALIGNMENT, dtype="uint8")
        begin = -room.ctypes.data % _ALIGNMENT
        return room[begin : begin + size].view(dtype).reshape(shape)
    if hasattr(example, "__array_namespace__"):
        namespace = example.__array_namespace__()
        return namespace.empty(shape, dtype=getattr(namespace, dtype), device=example.device)
    raise TypeError(f"cannot allocate results for arrays of {library}: pass out=")


def host_buffer(num_bytes: int) -> tuple[int, Any]:
    """Memory on the host at a multiple of 64 bytes: its pointer and its owner."""
    owner = (ctypes.c_char * (num_bytes + _ALIGNMENT))()
    address = ctypes.addressof(owner)
    return address + -address % _ALIGNMENT, owner
