"""The passes keep the meaning of a program: IR that is differentiated, fused and factored, run by `ir_interpreter`,
against autograd of e3nn's products. Every mode, orders 1 to 3, in float64."""

from __future__ import annotations

import math
import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Sequence

import e3nn
import numpy as np
import pytest
import torch
from e3nn import o3
from ir_interpreter import Space, run

OPT = Path(__file__).parents[2] / "build/bin/espmm-opt"
MODES = ["uvw", "uvu", "uvv", "uuw", "uuu", "uvuv", "uvu<v", "u<vw"]
TOLERANCE = 1e-12

GRAPH = Space(
    7, receivers=np.array([2, 0, 2, 3, 0, 2, 3]), senders=np.array([1, 4, 0, 1, 1, 2, 4]), num_receivers=4, num_senders=5
)
ROWS = Space(3)


@dataclass(frozen=True)
class Product:
    """A product as for e3nn: instructions (i1, i2, i3, mode, has_weight, path_weight)."""

    in1: str
    in2: str
    out: str
    instructions: tuple[tuple, ...]

    @functools.lru_cache(None)
    def e3nn(self) -> o3.TensorProduct:
        return o3.TensorProduct(
            self.in1, self.in2, self.out, list(self.instructions), shared_weights=False, internal_weights=False
        )


def product_of(mode: str) -> Product:
    """Two paths of one mode that share no block of z, with every l up to 2 somewhere; one where mul is 1 if it must be."""
    mul1, mul2 = (3, 3) if mode in ("uuw", "uuu", "uvu<v", "u<vw") else (3, 2)
    mul3 = {"uvw": 2, "uvu": mul1, "uvv": mul2, "uuw": 2, "uuu": mul1, "uvuv": mul1 * mul2, "uvu<v": 3, "u<vw": 2}[mode]
    return Product(
        f"{mul1}x0e+{mul1}x1o", f"{mul2}x1o+{mul2}x2e", f"{mul3}x1o+{mul3}x2o", ((0, 0, 0, mode, True), (1, 1, 1, mode, True, 0.7))
    )


MIXED = Product(
    "2x0e+2x1o", "1x0e+1x1o", "2x0e+2x1o", ((0, 0, 0, "uvu", True), (1, 1, 0, "uvu", False, 2.0), (0, 1, 1, "uvu", True))
)


@pytest.fixture(autouse=True)
def float64_in_plain_torch() -> Iterator[None]:
    """e3nn's products without TorchScript, whose warm-up costs seconds at third order, and on one thread."""
    options, dtype, threads = e3nn.get_optimization_defaults(), torch.get_default_dtype(), torch.get_num_threads()
    e3nn.set_optimization_defaults(jit_script_fx=False)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    yield
    e3nn.set_optimization_defaults(**options)
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


# The program, as text and in torch


def program(product: Product, conv: bool, shared: bool = False, layout: str = "mul_ir") -> str:
    """A level-0 module, as docs/Architecture.md describes it, of a product or the convolution around it."""
    tp = product.e3nn()

    def tensor(irreps: str) -> str:
        return f'tensor<?x{o3.Irreps(irreps).dim}xf64, #equivariant.irreps<"{irreps}", {layout}>>'

    x, y, z, w = tensor(product.in1), tensor(product.in2), tensor(product.out), f"tensor<?x{tp.weight_numel}xf64>"
    space = "!equivariant.graph" if conv else "!equivariant.rows"
    arg_w = w.replace("?", "1") if shared else w
    lines = [f"func.func @f(%g: {space}, %x: {x}, %y: {y}, %w: {arg_w}) -> {z} {{"]
    if conv:
        lines.append(f"%xe = equivariant.gather %x at senders of %g : {x} -> {x} over {space}")
    if shared:
        lines.append(f"%we = equivariant.gather %w at all of %g : {arg_w} -> {w} over {space}")
    names = {"x": "%xe" if conv else "%x", "y": "%y", "w": "%we" if shared else "%w"}
    terms = []
    for weighted in (True, False):
        paths = [
            f"{i.connection_mode.replace('<', '_lt_')}({i.i_in1}, {i.i_in2}, {i.i_out})"
            f"{'' if weighted else ' weightless'} * {i.path_weight!r}"
            for i in tp.instructions
            if i.has_weight == weighted
        ]
        if not paths:
            continue
        slots = "xyw" if weighted else "xy"
        types = dict(x=x, y=y, w=w)
        irreps = f'x = "{product.in1}", y = "{product.in2}", z = "{product.out}"'
        lines.append(
            f"%t{len(terms)} = equivariant.contract z of #equivariant.product<{irreps}, paths = [{', '.join(paths)}]> "
            f"({', '.join(f'{s} = {names[s]}' for s in slots)}) : ({', '.join(types[s] for s in slots)}) -> {z}"
        )
        terms.append(f"%t{len(terms)}")
    if len(terms) == 2:
        lines.append(f"%sum = equivariant.add {', '.join(terms)} : {z}")
        terms = ["%sum"]
    if conv:
        lines.append(f"%z = equivariant.segment_sum {terms[0]} at receivers of %g : {z} -> {z} over {space}")
        terms = ["%z"]
    return "\n".join([*lines, f"return {terms[0]} : {z}", "}"])


def in_torch(product: Product, space: Space, shared: bool = False) -> Callable[..., tuple[torch.Tensor, ...]]:
    """The same function of (x, y, w) by e3nn."""
    tp = product.e3nn()

    def function(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if shared:
            w = w.expand(len(y), -1)
        if space is ROWS:
            return (tp(x, y, w),)
        message = tp(x[torch.from_numpy(space.senders)], y, w)
        return (message.new_zeros(space.num_receivers, message.shape[1]).index_add(0, torch.from_numpy(space.receivers), message),)

    return function


def vjp(function: Callable[..., tuple[torch.Tensor, ...]], num_arguments: int, wrt: Sequence[int], cotangents: Sequence[int]) -> Callable:
    """What equivariant-differentiate makes of a function, by autograd: (arguments..., cotangents...) -> gradients."""

    def differentiated(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        primals = [p if p.requires_grad else p.requires_grad_() for p in values[:num_arguments]]
        all_results = function(*primals)
        pairs = [(all_results[r], c) for r, c in zip(cotangents, values[num_arguments:])]
        # A result that no argument reaches has no gradient to give, and autograd refuses it.
        pairs = [(result, cotangent) for result, cotangent in pairs if result.requires_grad]
        if not pairs:
            return tuple(torch.zeros_like(primals[i]) for i in wrt)
        return torch.autograd.grad(
            [result for result, _ in pairs],
            [primals[i] for i in wrt],
            [cotangent for _, cotangent in pairs],
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )

    return differentiated


def espmm_opt(ir: str, *passes: str) -> str:
    command = [OPT, f"--pass-pipeline=builtin.module({','.join(passes)})", "--mlir-print-op-generic"]
    done = subprocess.run(command, input=ir, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def random_arguments(product: Product, space: Space, shared: bool = False) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    rows_x = space.num_senders if space.receivers is not None else space.size
    shapes = [
        (rows_x, o3.Irreps(product.in1).dim),
        (space.size, o3.Irreps(product.in2).dim),
        (1 if shared else space.size, product.e3nn().weight_numel),
    ]
    return [rng.standard_normal(shape) for shape in shapes]


EVERYTHING = None
#: What is run after differentiation, and has to leave the results as they are.
STAGES = [[], ["equivariant-fuse"], ["cse", "canonicalize", "equivariant-fuse"]]


def check(
    ir: str,
    function: Callable,
    arguments: list[np.ndarray],
    space: Space,
    orders: Sequence[tuple[Sequence[int] | None, Sequence[int] | None]],
    stages: Sequence[Sequence[str]] = STAGES,
) -> None:
    """Runs the IR, differentiated and after each of `stages` (lists of passes), against autograd.

    Args:
        ir: a level-0 module.
        function: the same function in torch.
        arguments: its arguments, without the index space.
        orders: for each differentiation (wrt, cotangents), in the pass's numbers; EVERYTHING is the default of the pass.
    """
    rng = np.random.default_rng(len(orders))
    values = [torch.from_numpy(a) for a in arguments]
    passes = []
    for wrt, cotangents in orders:
        wrt = range(1, len(values) + 1) if wrt is EVERYTHING else wrt
        shapes = [tuple(r.shape) for r in function(*values)]
        cotangents = range(len(shapes)) if cotangents is EVERYTHING else cotangents
        passes.append(
            f"equivariant-differentiate{{wrt={','.join(map(str, wrt))} cotangents={','.join(map(str, cotangents))}}}"
        )
        function = vjp(function, len(values), [i - 1 for i in wrt], cotangents)
        values = values + [torch.from_numpy(rng.standard_normal(shapes[c])) for c in cotangents]
    expected = [t.detach().numpy() for t in function(*values)]
    assert any(np.linalg.norm(e) > 0 for e in expected)
    for stage in stages:
        got = run(espmm_opt(ir, *passes, *stage), space, *(t.detach().numpy() for t in values))
        assert len(got) == len(expected)
        for n, (g, e) in enumerate(zip(got, expected)):
            assert g.shape == e.shape
            assert np.linalg.norm(g - e) <= TOLERANCE * np.linalg.norm(e), f"result {n} after {stage}"


def full(order: int) -> list[tuple[None, None]]:
    return [(EVERYTHING, EVERYTHING)] * order


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode(mode: str, order: int) -> None:
    product = product_of(mode)
    check(program(product, conv=True), in_torch(product, GRAPH), random_arguments(product, GRAPH), GRAPH, full(order))


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_weighted_and_weightless_paths(order: int) -> None:
    check(program(MIXED, conv=True), in_torch(MIXED, GRAPH), random_arguments(MIXED, GRAPH), GRAPH, full(order))


@pytest.mark.parametrize("mode", ["uvu", "uvv", "uuw", "uuu", "uvuv", "uvu<v"])
def test_weightless_modes(mode: str) -> None:
    mul1, mul2 = (3, 3) if mode in ("uuw", "uuu", "uvu<v") else (3, 2)
    mul3 = {"uvu": mul1, "uvv": mul2, "uuw": 1, "uuu": mul1, "uvuv": mul1 * mul2, "uvu<v": 3}[mode]
    product = Product(f"{mul1}x1o", f"{mul2}x2e", f"{mul3}x1o", ((0, 0, 0, mode, False),))
    check(program(product, conv=True), in_torch(product, GRAPH), random_arguments(product, GRAPH), GRAPH, full(2))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("space", [GRAPH, ROWS], ids=["graph", "rows"])
@pytest.mark.parametrize("shared", [False, True], ids=["weights", "shared_weights"])
def test_batches_and_shared_weights(space: Space, shared: bool, order: int) -> None:
    arguments = random_arguments(MIXED, space, shared)
    check(program(MIXED, space is GRAPH, shared), in_torch(MIXED, space, shared), arguments, space, full(order))


def in_ir_mul(product: Product, space: Space) -> Callable[..., tuple[torch.Tensor, ...]]:
    """As in_torch, the rows of x, y and z in layout ir_mul."""
    function = in_torch(product, space)

    def order(irreps: str) -> torch.Tensor:
        """For each element of a row in ir_mul its position in mul_ir."""
        blocks = zip(o3.Irreps(irreps).slices(), o3.Irreps(irreps))
        return torch.cat([torch.arange(s.start, s.stop).reshape(mul, ir.dim).T.reshape(-1) for s, (mul, ir) in blocks])

    from_x, from_y, to_z = torch.argsort(order(product.in1)), torch.argsort(order(product.in2)), order(product.out)
    return lambda x, y, w: (function(x[:, from_x], y[:, from_y], w)[0][:, to_z],)


@pytest.mark.parametrize("order", [0, 2])
def test_components_before_multiplicities(order: int) -> None:
    """Layout ir_mul: the same numbers in another order."""
    product = product_of("uvw")
    arguments = random_arguments(product, GRAPH)
    check(program(product, conv=True, layout="ir_mul"), in_ir_mul(product, GRAPH), arguments, GRAPH, full(order))


@pytest.mark.parametrize(
    "orders",
    [
        [([3], [0])],
        [([2, 1], [0])],
        [([1], [0]), ([1, 4], [0])],
        [([1, 3], EVERYTHING), ([2, 4], [1])],
        [([1, 2], [0]), ([3, 4], [1, 0]), ([1], [1])],
    ],
    ids=str,
)
def test_some_gradients_of_some_results(orders: list) -> None:
    """Arguments left out, out of order, and such that the result does not depend on (order 2 of x in the third)."""
    check(program(MIXED, conv=True), in_torch(MIXED, GRAPH), random_arguments(MIXED, GRAPH), GRAPH, orders)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
def test_factored(layout: str, order: int) -> None:
    """Small einsums with shared intermediates give what the contracts gave; paths share blocks of x, y and z."""
    in1, in2, out = "3x0e+2x1o", "1x0e+1x1o", "3x0e+2x1o+2x0e+2x1e+2x2e"
    paths = [(0, 0, 0), (1, 0, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4), (1, 0, 1)]
    product = Product(in1, in2, out, tuple((*path, "uvu", True, 0.5 + n) for n, path in enumerate(paths)))
    arguments = random_arguments(product, GRAPH)
    function = in_torch(product, GRAPH) if layout == "mul_ir" else in_ir_mul(product, GRAPH)
    check(program(product, True, layout=layout), function, arguments, GRAPH, full(order), [["equivariant-fuse", "equivariant-factor"]])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_two_layers(order: int) -> None:
    """A gather that reads a segment sum: two kernels, and in the backward pass rows of edges between them."""
    square = Product("2x0e+2x1o", "1x0e+1x1o", "2x0e+2x1o", ((0, 0, 0, "uvu", True), (1, 1, 0, "uvu", True), (0, 1, 1, "uvu", True)))
    graph = Space(GRAPH.size, GRAPH.receivers, GRAPH.senders, 5, 5)
    lines = program(square, conv=True).splitlines()
    layer = lines[1:-2]
    again = [line.replace("%", "%second_") for line in layer]
    for name, is_now in (("x", "%z"), ("y", "%y"), ("w", "%w"), ("g", "%g")):
        again = [re.sub(rf"%second_{name}\b", is_now, line) for line in again]
    ir = "\n".join([lines[0], *layer, *again, lines[-2].replace("%z", "%second_z"), lines[-1]])
    one = in_torch(square, graph)
    check(ir, lambda x, y, w: one(one(x, y, w)[0], y, w), random_arguments(square, graph), graph, full(order))


@pytest.mark.parametrize("change", [("senders", "receivers"), (" * 0.", " * 0.1"), ("contract z", "contract z")])
def test_a_wrong_program_is_seen(change: tuple[str, str]) -> None:
    """The comparison can fail: another side or coefficient is found; no change passes."""
    product = product_of("uvu")
    ir = program(product, conv=True)
    wrong = ir.replace(*change)
    graph = Space(GRAPH.size, GRAPH.receivers, GRAPH.senders, 5, 5)
    arguments = wrong, in_torch(product, graph), random_arguments(product, graph), graph, full(1)
    if wrong == ir:
        check(*arguments)
    else:
        with pytest.raises(AssertionError, match="result"):
            check(*arguments)
