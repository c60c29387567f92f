"""What espmm is compared with: other packages' convolutions, as their users call them, with rows laid out their way.

A peer that is not installed, or cannot run here, says why. What it is timed on is converted beforehand, into the layout
that it is made for (`Form`), and its results are converted back before they are compared with the reference:

    e3nn                  gather, o3.TensorProduct, index_add; mul_ir
    openequivariance      TensorProductConv, atomic; the layout of the run, weights in its own order
                          (reorder_weights_from_e3nn)
    openequivariance-det  the same with deterministic=True, which wants edges sorted by receiver and sender, and the
                          permutation that sorts them by sender
    cuequivariance        SegmentedPolynomial(channelwise_tensor_product, method="uniform_1d") with indices; of dense
                          products fully_connected_tensor_product, method="fused_tp"; ir_mul
    flashtp               flashTP_e3nn.uvu_TP; mul_ir

Without a graph, they are o3.TensorProduct, openequivariance.TensorProduct, and the polynomial without indices; the
other two have only convolutions.
"""

from __future__ import annotations

import abc
import importlib
import importlib.metadata
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from .reference import E3nnConv, Operands, Product, e3nn_module, with_layout

Bound = Callable[[Tensor, Tensor, Tensor], Tensor]

# What e3nn's double backward holds at its peak, in rows of x, w and z together an edge; measured for mace-large, on the
# safe side.
_E3NN_ROWS = 8


@dataclass(frozen=True)
class Form:
    """How rows are laid out: "mul_ir" or "ir_mul", and for each column of weights e3nn's; None: as in e3nn."""

    layout: str
    weights: tuple[int, ...] | None = None

    def of_operands(self, product: Product, layout: str, operands: Operands) -> Operands:
        """Operands in this form; those that look the same in both are shared."""
        changed = {name: self._turn(product, layout, name, tensor) for name, tensor in operands.tensors.items()}
        return replace(operands, **changed)

    def to_layout(self, product: Product, layout: str, name: str, result: Tensor) -> Tensor:
        """A result of this form (`name` as in Results) back in e3nn's order of weights and a layout."""
        irreps = _irreps_of(product, name)
        if irreps is not None:
            return with_layout(result, irreps, self.layout, layout)
        if self.weights is None:
            return result
        back = torch.empty_like(result)
        back[..., list(self.weights)] = result
        return back

    def _turn(self, product: Product, layout: str, name: str, tensor: Tensor) -> Tensor:
        irreps = _irreps_of(product, name)
        if irreps is not None:
            return with_layout(tensor, irreps, layout, self.layout)
        return tensor if self.weights is None else tensor[..., list(self.weights)]


def _irreps_of(product: Product, name: str) -> str | None:
    """The irreps of an operand or result by its last letter; None for weights."""
    return {"x": product.irreps_in1, "y": product.irreps_in2, "z": product.irreps_out}.get(name[-1])


class Unsupported(Exception):
    """The peer has no such product."""


class Peer(abc.ABC):
    """One peer.

    Attributes:
        name: on the command line and in the table.
        package: what is imported, and its distribution's name.
        cached: whether it gains from inputs in the cache, so that sets of inputs have to take turns.
    """

    name = ""
    package = ""
    cached = True

    def version(self) -> str:
        """The installed version; imports the package.

        Raises:
            ImportError: it is not installed, or does not load.
        """
        importlib.import_module(self.package)
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return "of unknown version"

    def missing(self, device: torch.device) -> str | None:
        """Why it cannot run on the device; None if it can."""
        if device.type != "cuda":
            return "runs on a GPU only"
        try:
            self.version()
        except Exception as error:  # noqa: BLE001  what a package does when it is imported is up to the package
            return one_line(error)
        return None

    def needs_bytes(self, product: Product, edges: int, itemsize: int) -> int:
        """What the host must have free for it: there, running out of memory ends the process."""
        return 0

    def form(self, product: Product, dtype: torch.dtype, layout: str, batch: bool) -> Form:
        """How it wants rows, for a run in a layout."""
        return Form(layout)

    @abc.abstractmethod
    def bind(self, product: Product, nodes: int, layout: str, operands: Operands) -> Bound:
        """(x, y, w) -> z on the operands' graph, of rows in its form.

        Raises:
            Unsupported: it has no such product.
        """


def one_line(error: BaseException) -> str:
    """An exception in a line of the table's notes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


class E3nn(Peer):
    """e3nn as its users write it."""

    name = package = "e3nn"
    # It reads and writes far more than a cache holds.
    cached = False

    def missing(self, device: torch.device) -> str | None:
        return None

    def needs_bytes(self, product: Product, edges: int, itemsize: int) -> int:
        x, _, w, z = product.dims
        return _E3NN_ROWS * edges * (x + w + z) * itemsize

    def form(self, product: Product, dtype: torch.dtype, layout: str, batch: bool) -> Form:
        return Form("mul_ir")

    def bind(self, product: Product, nodes: int, layout: str, operands: Operands) -> Bound:
        conv = E3nnConv(e3nn_module(product, operands.x.dtype, operands.x.device))
        return lambda x, y, w: conv(x, y, w, operands.receivers, operands.senders)


class OpenEquivariance(Peer):
    """OpenEquivariance, which compiles a product when it is first called."""

    package = "openequivariance"

    def __init__(self, deterministic: bool) -> None:
        self.deterministic = deterministic
        self.name = "openequivariance-det" if deterministic else "openequivariance"

    def version(self) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it compiles its extension
            version = super().version()
        package = importlib.import_module(self.package)
        if not package.BUILT_EXTENSION:
            raise ImportError(f"its extension was not built: {package.BUILT_EXTENSION_ERROR}")
        return version

    def form(self, product: Product, dtype: torch.dtype, layout: str, batch: bool) -> Form:
        module = _openequivariance_module(product, dtype, layout, batch, self.deterministic and not batch)
        columns = torch.arange(product.dims[2])
        # It takes shared weights without a batch dimension, whatever the second argument says.
        order = module.reorder_weights_from_e3nn(columns if product.shared_weights else columns.unsqueeze(0), True)
        return Form(layout, None if torch.equal(order.flatten(), columns) else tuple(order.flatten().tolist()))

    def bind(self, product: Product, nodes: int, layout: str, operands: Operands) -> Bound:
        dtype, batch = operands.x.dtype, operands.receivers is None
        if batch and self.deterministic:
            raise Unsupported("a batch has no sums over edges")
        module = _openequivariance_module(product, dtype, layout, batch, self.deterministic)
        if batch:
            return module
        receivers, senders = operands.receivers, operands.senders
        by_sender = None
        if self.deterministic:
            if bool((torch.diff(receivers * nodes + senders) < 0).any()):
                raise Unsupported("edges are not sorted by receiver and sender")
            by_sender = torch.argsort(senders * nodes + receivers, stable=True)
        return lambda x, y, w: module(x, y, w, receivers, senders, by_sender)


@lru_cache(maxsize=4)
def _openequivariance_module(
    product: Product, dtype: torch.dtype, layout: str, batch: bool, deterministic: bool
) -> torch.nn.Module:
    import openequivariance

    numbers = openequivariance.torch_to_oeq_dtype(dtype)
    problem = openequivariance.TPProblem(
        openequivariance.Irreps(product.irreps_in1),
        openequivariance.Irreps(product.irreps_in2),
        openequivariance.Irreps(product.irreps_out),
        list(product.instructions),
        shared_weights=product.shared_weights,
        internal_weights=False,
        irrep_dtype=numbers,
        weight_dtype=numbers,
        layout=layout,
    )
    if batch:
        return openequivariance.TensorProduct(problem)
    return openequivariance.TensorProductConv(problem, deterministic=deterministic)


class CuEquivariance(Peer):
    """cuEquivariance's fused convolution; `method` "naive" is its plain torch, which runs anywhere."""

    name = "cuequivariance"
    package = "cuequivariance_torch"

    def __init__(self, method: str = "uniform_1d") -> None:
        self.method = method

    def version(self) -> str:
        # Its kernels, without which it falls back to plain torch.
        importlib.import_module("cuequivariance_ops_torch.uniform_1d")
        return super().version()

    def form(self, product: Product, dtype: torch.dtype, layout: str, batch: bool) -> Form:
        return Form("ir_mul")

    def bind(self, product: Product, nodes: int, layout: str, operands: Operands) -> Bound:
        device = operands.x.device
        polynomial = _cuequivariance_module(product, operands.x.dtype, self.method).to(device)
        if operands.receivers is None:
            return lambda x, y, w: polynomial([w if w.ndim == 2 else w.unsqueeze(0), x, y])[0]
        senders, receivers = {1: operands.senders}, {0: operands.receivers}
        # Of the output's shape only the number of rows is read.
        shapes = {0: torch.empty(nodes, 1, device=device)}
        return lambda x, y, w: polynomial([w, x, y], senders, shapes, receivers)[0]


@lru_cache(maxsize=4)
def _cuequivariance_module(product: Product, dtype: torch.dtype, method: str) -> torch.nn.Module:
    import cuequivariance as cue
    from cuequivariance.group_theory.experimental.e3nn import O3_e3nn
    from cuequivariance_torch import SegmentedPolynomial

    dense = all(mode == "uvw" for *_, mode, _ in product.instructions)
    if dense and method == "uniform_1d":
        method = "fused_tp"
    # e3nn's bases and order of irreps, and its coefficients in all their digits.
    with _default_dtype(torch.float64):
        in1, in2, out = (
            cue.Irreps(O3_e3nn, irreps) for irreps in (product.irreps_in1, product.irreps_in2, product.irreps_out)
        )
        if dense:
            descriptor = cue.descriptors.fully_connected_tensor_product(in1, in2, out)
        else:
            descriptor = cue.descriptors.channelwise_tensor_product(in1, in2, [ir for _, ir in out])
    if descriptor.outputs[0].irreps != out or descriptor.inputs[0].dim != product.dims[2]:
        raise Unsupported(f"its product gives {descriptor.outputs[0].irreps}, expected {product.irreps_out}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = SegmentedPolynomial(descriptor.polynomial, method=method, math_dtype=dtype)
    # It falls back to plain torch, with a warning only, if a package of its own or one that that needs is missing.
    if module.method != method:
        raise Unsupported(f"fell back to {module.method!r}: {'; '.join(str(warning.message) for warning in caught)}")
    return module


@contextmanager
def _default_dtype(dtype: torch.dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class FlashTP(Peer):
    """FlashTP, which is on no package index: built from its repository, SNU-ARC/flashTP."""

    name = "flashtp"
    package = "flashTP_e3nn"

    def form(self, product: Product, dtype: torch.dtype, layout: str, batch: bool) -> Form:
        return Form("mul_ir")

    def bind(self, product: Product, nodes: int, layout: str, operands: Operands) -> Bound:
        if operands.receivers is None:
            raise Unsupported("it has convolutions only")
        module = _flashtp_module(product, operands.x.dtype)
        senders, receivers = operands.senders.int(), operands.receivers.int()
        return lambda x, y, w: module(x, y, w, senders, receivers)


@lru_cache(maxsize=4)
def _flashtp_module(product: Product, dtype: torch.dtype) -> torch.nn.Module:
    from e3nn.o3 import Irreps
    from flashTP_e3nn import uvu_TP

    irreps = [Irreps(text) for text in (product.irreps_in1, product.irreps_in2, product.irreps_out)]
    with _default_dtype(dtype):
        return uvu_TP(*irreps, list(product.instructions), device="cuda", dtype=dtype)


PEERS: dict[str, Peer] = {
    peer.name: peer for peer in (E3nn(), OpenEquivariance(False), OpenEquivariance(True), CuEquivariance(), FlashTP())
}
