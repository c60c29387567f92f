"""espmm.compat.openequivariance: OpenEquivariance's names and signatures."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import subprocess
import sys

import espmm
import numpy as np
import pytest
import torch
from e3nn import o3
from espmm.compat import openequivariance as oeq
from helpers import default_dtype

IN1, IN2, OUT = "4x0e+4x1o", "0e+1o", "4x0e+4x1o+4x1o"
PATHS = [(0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True), (1, 0, 2, "uvu", True), (1, 1, 0, "uvu", True)]


@pytest.fixture
def installed():
    oeq.install()
    yield
    oeq.uninstall()


def graph(nodes: int = 6, edges: int = 20):
    generator = torch.Generator().manual_seed(0)
    rows, cols = torch.randint(nodes, (2, edges), generator=generator)
    x = torch.randn(nodes, 16, dtype=torch.float64, generator=generator)
    y = torch.randn(edges, 4, dtype=torch.float64, generator=generator)
    w = torch.randn(edges, 16, dtype=torch.float64, generator=generator)
    with default_dtype(torch.float64):
        tp = o3.TensorProduct(IN1, IN2, OUT, PATHS, shared_weights=False, internal_weights=False)
    z = torch.zeros(nodes, 28, dtype=torch.float64).index_add(0, rows, tp(x[cols], y, w))
    return x, y, w, rows, cols, z


def problem64(**arguments):
    dtype = oeq.torch_to_oeq_dtype(torch.float64)
    return oeq.TPProblem(
        IN1, IN2, OUT, PATHS, shared_weights=False, internal_weights=False, irrep_dtype=dtype, weight_dtype=dtype, **arguments
    )


def test_a_program_that_imports_openequivariance(library, installed):
    import openequivariance
    from openequivariance import TensorProductConv, TPProblem, torch_to_oeq_dtype

    assert openequivariance.__version__ == "0.7.0"
    dtype = torch_to_oeq_dtype(torch.float64)
    problem = TPProblem(
        o3.Irreps(IN1), o3.Irreps(IN2), o3.Irreps(OUT), PATHS,
        irrep_dtype=dtype, weight_dtype=dtype, shared_weights=False, internal_weights=False,
    )  # fmt: skip
    conv = TensorProductConv(problem, torch_op=True, deterministic=False, use_opaque=False)
    x, y, w, rows, cols, z = graph()
    assert conv.weight_numel == 16 and conv.state_dict() == {} and conv.input_args["problem"] is problem
    torch.testing.assert_close(conv(x, y, w, rows, cols), z, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(conv(X=x, Y=y, W=w, rows=rows, cols=cols, sender_perm=rows), z, rtol=1e-12, atol=1e-12)
    messages = openequivariance.TensorProduct(problem)(x[cols], y, W=w)
    torch.testing.assert_close(torch.zeros_like(z).index_add(0, rows, messages), z, rtol=1e-12, atol=1e-12)
    assert conv.reorder_weights_from_e3nn(w) is w and conv.reorder_weights_to_e3nn(w, True) is w


def test_maces_way_of_calling_survives_save_and_deepcopy(library):
    conv = oeq.TensorProductConv(problem64(), deterministic=False)
    # What MACE does to a module that it has built.
    conv.original_forward = conv.forward
    conv.layout_transpose_in = None
    conv.forward = lambda *args: 1 / 0
    x, y, w, rows, cols, z = graph()
    file = io.BytesIO()
    torch.save(conv, file)
    file.seek(0)
    for each in (conv, copy.deepcopy(conv), torch.load(file, weights_only=False)):
        torch.testing.assert_close(each(x, y, w, torch.stack([cols, rows])), z, rtol=1e-12, atol=1e-12)


def test_dtypes_follow_the_module(library):
    conv = oeq.TensorProductConv(problem64()).float()
    x, y, w, rows, cols, z = graph()
    out = conv(x.float(), y.float(), w.float(), rows, cols)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), z, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="expected torch.float32 or torch.float64, got torch.int64"):
        oeq.torch_to_oeq_dtype(torch.int64)
    assert oeq.torch_to_oeq_dtype(torch.float32) is np.float32


def test_arguments_and_refusals(library):
    assert list(inspect.signature(oeq.TPProblem).parameters) == [
        "irreps_in1", "irreps_in2", "irreps_out", "instructions", "in1_var", "in2_var", "out_var", "irrep_normalization",
        "path_normalization", "internal_weights", "shared_weights", "label", "irrep_dtype", "weight_dtype", "layout",
    ]  # fmt: skip
    problem = problem64(label="a layer")
    assert problem.label == "a layer" and problem.clone() == problem and isinstance(problem, espmm.TPProblem)
    for again in (copy.copy(problem), copy.deepcopy(problem), pickle.loads(pickle.dumps(problem))):
        assert type(again) is oeq.TPProblem and again == problem and hash(again) == hash(problem) and again.label == "a layer"
        assert again.weight_numel == problem.weight_numel and repr(again) == repr(problem)
    with pytest.raises(espmm.ProblemError, match="expected internal_weights = False"):
        oeq.TPProblem(IN1, IN2, OUT, PATHS, internal_weights=True)
    with pytest.raises(espmm.UnsupportedError, match="expected kahan = False"):
        oeq.TensorProductConv(problem, deterministic=True, kahan=True)
    with pytest.raises(espmm.UnsupportedError, match="no interface to JAX"):
        oeq.jax.TensorProductConv(problem)
    assert oeq.TensorProductConv(problem, deterministic=True).deterministic


def test_transpose_irreps():
    # 2x1o in mul_ir: x0 y0 z0 x1 y1 z1
    array = torch.tensor([[7.0, 0, 1, 2, 3, 4, 5]])
    expected = torch.tensor([[7.0, 0, 3, 1, 4, 2, 5]])
    assert torch.equal(oeq.transpose_irreps(array, "0e+2x1o", "mul_ir", "ir_mul"), expected)
    assert torch.equal(oeq.transpose_irreps(expected, "0e+2x1o", "ir_mul", "mul_ir"), array)
    same = oeq.transpose_irreps(array, "0e+2x1o", "mul_ir", "mul_ir")
    assert torch.equal(same, array) and same.data_ptr() != array.data_ptr()
    with pytest.raises(ValueError, match="expected src_layout to be 'mul_ir' or 'ir_mul', got 'other'"):
        oeq.transpose_irreps(array, "0e+2x1o", "other", "mul_ir")
    with pytest.raises(ValueError, match="expected the last axis to be 6"):
        oeq.transpose_irreps(array, "2x1o", "mul_ir", "ir_mul")


def test_the_library_for_cpp(library):
    path = oeq.torch_ext_so_path()
    assert path is None or path == espmm.torch_library()


def test_install_does_not_hide_the_real_one(monkeypatch, installed):
    oeq.install()  # again is nothing
    oeq.uninstall()
    assert "openequivariance" not in sys.modules
    monkeypatch.setitem(sys.modules, "openequivariance", sys)
    with pytest.raises(RuntimeError, match="openequivariance is imported already"):
        oeq.install()
    oeq.uninstall()
    assert sys.modules["openequivariance"] is sys


def test_a_client_that_came_too_early_is_named(monkeypatch):
    early = type(sys)("mace.modules.wrapper_ops")
    early.OEQ_AVAILABLE = False
    monkeypatch.setitem(sys.modules, "mace.modules.wrapper_ops", early)
    with pytest.warns(UserWarning, match="imported before this, and without OpenEquivariance: mace.modules.wrapper_ops"):
        oeq.install()
    oeq.uninstall()


def test_importing_espmm_does_not_bring_it():
    code = "import sys, espmm; assert 'openequivariance' not in sys.modules and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
