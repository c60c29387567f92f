"""The numpy reference against e3nn: every mode, forward and derivatives, so that it can judge the compiler."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from e3nn import o3
from reference import Graph, Path, Product, evaluate, normalised, read_blocks

MODES = {
    "uvw": ("3x1o+2x0e", "2x1o+1x2e", "4x1o+3x2e", [(0, 1, 0, "uvw", True), (1, 1, 1, "uvw", True)]),
    "uvu": ("3x1o+2x0e", "2x1o+1x2e", "3x2e+2x1o", [(0, 0, 0, "uvu", True), (1, 0, 1, "uvu", False)]),
    "uvv": ("3x1o", "2x1o", "2x1e+2x0e", [(0, 0, 0, "uvv", True), (0, 0, 1, "uvv", False)]),
    "uuw": ("3x1o", "3x1o", "4x1e+1x0e", [(0, 0, 0, "uuw", True), (0, 0, 1, "uuw", False)]),
    "uuu": ("3x1o", "3x2e", "3x1o+3x3o", [(0, 0, 0, "uuu", True), (0, 0, 1, "uuu", False)]),
    "uvuv": ("3x1o", "2x1o", "6x1e+6x2e", [(0, 0, 0, "uvuv", True), (0, 0, 1, "uvuv", False)]),
    "uvu<v": ("4x1o", "4x1o", "6x1e+6x0e", [(0, 0, 0, "uvu<v", True), (0, 0, 1, "uvu<v", False)]),
    "u<vw": ("4x1o", "4x1o", "2x1e+3x2e", [(0, 0, 0, "u<vw", True), (0, 0, 1, "u<vw", True)]),
}


def both(mode: str) -> tuple[o3.TensorProduct, Product]:
    in1, in2, out, instructions = MODES[mode]
    torch.set_default_dtype(torch.float64)
    try:
        tp = o3.TensorProduct(in1, in2, out, instructions, shared_weights=False, internal_weights=False)
    finally:
        torch.set_default_dtype(torch.float32)
    blocks = [read_blocks(text) for text in (in1, in2, out)]
    coefficients = normalised(*blocks, instructions)
    assert np.allclose(coefficients, [ins.path_weight for ins in tp.instructions], rtol=1e-15)
    return tp, Product(in1, in2, out, [Path(*ins[:5], c) for ins, c in zip(instructions, coefficients)])


@pytest.mark.parametrize("mode", MODES)
def test_batch_agrees_with_e3nn_up_to_the_second_derivative(mode):
    tp, product = both(mode)
    assert product.widths["w"] == tp.weight_numel
    generator = torch.Generator().manual_seed(1)
    widths = [tp.irreps_in1.dim, tp.irreps_in2.dim, tp.weight_numel]
    inputs = [torch.randn(5, d, generator=generator, dtype=torch.float64, requires_grad=True) for d in widths]
    z = tp(*inputs)
    g = torch.randn(z.shape, generator=generator, dtype=torch.float64, requires_grad=True)
    first = torch.autograd.grad(z, inputs, g, create_graph=True)
    second_cotangents = [torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in first]
    second = torch.autograd.grad(first, [*inputs, g], second_cotangents)

    arrays = [t.detach().numpy() for t in inputs]
    steps = [((0, 1, 2), (0,)), ((0, 1, 2, 3), (0, 1, 2))]
    (ours,) = evaluate(product, [], arrays, rows=5)
    np.testing.assert_allclose(ours, z.detach(), atol=1e-12)
    arrays.append(g.detach().numpy())
    for mine, theirs in zip(evaluate(product, steps[:1], arrays, rows=5), first):
        np.testing.assert_allclose(mine, theirs.detach(), atol=1e-12)
    arrays += [t.numpy() for t in second_cotangents]
    for mine, theirs in zip(evaluate(product, steps, arrays, rows=5), second):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_convolution_agrees_with_gather_product_and_index_add(shared):
    in1, in2, out, instructions = MODES["uvu"]
    torch.set_default_dtype(torch.float64)
    tp = o3.TensorProduct(in1, in2, out, instructions, shared_weights=shared, internal_weights=False)
    torch.set_default_dtype(torch.float32)
    _, product = both("uvu")
    generator = torch.Generator().manual_seed(2)
    receivers, senders = torch.tensor([2, 0, 2, 2, 4]), torch.tensor([1, 1, 0, 3, 3])
    x = torch.randn(5, tp.irreps_in1.dim, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, tp.irreps_in2.dim, generator=generator, dtype=torch.float64, requires_grad=True)
    shape = (tp.weight_numel,) if shared else (5, tp.weight_numel)
    w = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    z = torch.zeros(5, tp.irreps_out.dim, dtype=torch.float64).index_add(0, receivers, tp(x[senders], y, w))
    g = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    first = torch.autograd.grad(z, [x, y, w], g)
    graph = Graph(receivers.numpy(), senders.numpy(), 5, 5)
    arrays = [x.detach().numpy(), y.detach().numpy(), w.detach().reshape(-1, tp.weight_numel).numpy()]
    (ours,) = evaluate(product, [], arrays, graph, shared)
    np.testing.assert_allclose(ours, z.detach(), atol=1e-12)
    for mine, theirs in zip(evaluate(product, [((0, 1, 2), (0,))], [*arrays, g.numpy()], graph, shared), first):
        np.testing.assert_allclose(mine.reshape(theirs.shape), theirs, atol=1e-12)


def test_ir_mul_is_a_permutation_of_each_block():
    in1, in2, out, instructions = MODES["uvu"]
    _, product = both("uvu")
    other = Product(in1, in2, out, product.paths, layout="ir_mul")
    rng = np.random.default_rng(0)
    x, y, w = (rng.normal(size=(4, product.widths[slot])) for slot in "xyw")

    def to_ir_mul(array: np.ndarray, slot: str) -> np.ndarray:
        parts, start = [], 0
        for b in product.blocks[slot]:
            size = b.mul * (2 * b.l + 1)
            block = array[:, start : start + size].reshape(-1, b.mul, 2 * b.l + 1)
            parts.append(block.transpose(0, 2, 1).reshape(-1, size))
            start += size
        return np.concatenate(parts, 1)

    (plain,) = evaluate(product, [], [x, y, w], rows=4)
    (turned,) = evaluate(other, [], [to_ir_mul(x, "x"), to_ir_mul(y, "y"), w], rows=4)
    np.testing.assert_allclose(turned, to_ir_mul(plain, "z"), atol=1e-13)
