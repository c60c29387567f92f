"""What the compiler and the runtime have to know of torch's devices."""

from __future__ import annotations

import torch

from .errors import UnsupportedError


def current_stream(device: int) -> int:
    """The handle of the stream that torch works on now, on a CUDA device."""
    return torch._C._cuda_getCurrentRawStream(device)


def target_of(device: torch.device) -> str:
    """The compiler's target for a device.

    Raises:
        ValueError: neither the CPU nor a CUDA device. UnsupportedError: a GPU that is too old.
    """
    if device.type == "cpu":
        return "cpu"
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        if major < 8:
            raise UnsupportedError(
                f"expected a GPU of compute capability 8.0 or later, got {major}.{minor} of {device} "
                f"({torch.cuda.get_device_name(device)})"
            )
        return f"cuda:sm_{major}{minor}"
    raise ValueError(f"expected tensors on the CPU or a CUDA device, got {device}")
