"""python -m espmm."""

from __future__ import annotations

import json

import espmm
import pytest
from espmm.__main__ import main


def out_of(capsys, *argv: str) -> str:
    assert main(list(argv)) == 0
    return capsys.readouterr().out


def test_info(capsys, library, monkeypatch, tmp_path):
    monkeypatch.setenv("ESPMM_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("ESPMM_CACHE", raising=False)
    text = out_of(capsys, "info")
    assert "targets" in text and "cuda" in text and str(tmp_path) in text
    assert any(line.split()[:2] == ["espmm", espmm.__version__] for line in text.splitlines()), text
    found = json.loads(out_of(capsys, "info", "--json"))
    assert {"espmm", "python", "targets", "library", "cuda", "cache"} <= set(found)
    assert found["espmm"] == found["version"] == espmm.__version__ and found["cache"]["folder"] == str(tmp_path)


def test_stages(capsys, library):
    source = out_of(capsys, "compile", "mace-medium", "--conv", "--emit", "source")
    assert "equivariant.segment_sum" in source and "128x0e+128x1o" in source
    differentiated = out_of(capsys, "compile", "mace-medium", "--conv", "--order", "1", "--emit", "differentiated")
    assert differentiated.count("equivariant.contract") == 3


def test_own_products(capsys, library, tmp_path):
    text = out_of(
        capsys, "compile", "--in1", "4x1o", "--in2", "1o", "--out", "4x0e+4x1e",
        "--instructions", "0,0,0,uvu", "0,0,1,uvu,weightless,2",
        "--layout", "ir_mul", "--dtype", "float64", "--shared-weights", "--emit", "source",
    )  # fmt: skip
    assert "weightless" in text and "ir_mul" in text and "xf64" in text and "tensor<1x4xf64>" in text
    file = tmp_path / "source.mlir"
    arguments = ["compile", "--in1", "4x1o", "--in2", "1o", "--out", "0e+1e", "--every-path", "--emit", "source"]
    out_of(capsys, *arguments, "-o", str(file))
    assert file.read_text() == out_of(capsys, *arguments)


def test_code_and_figures(capsys, library):
    own = ["compile", "--in1", "4x1o", "--in2", "1o", "--out", "0e+1e", "--every-path", "--conv"]
    assert json.loads(out_of(capsys, *own))
    manifest = json.loads(out_of(capsys, *own, "--emit", "manifest"))
    assert manifest["target"] == "cpu"
    assert ".entry" in out_of(capsys, *own, "--target", "cuda:sm_90", "--emit", "ptx")


def test_repro(capsys):
    command = out_of(capsys, "compile", "mace-large", "--conv", "--order", "1", "--emit", "tiled", "--repro")
    assert command == (
        "espmm-opt source.mlir --pass-pipeline='builtin.module(equivariant-differentiate{wrt=1,2,3 cotangents=0},"
        "equivariant-to-cpu{until=tiled})'\n"
    )
    command = out_of(capsys, "compile", "mace-large", "--target", "cuda:sm_90", "--emit", "ptx", "--repro")
    assert command.endswith(" | espmm-translate --to-ptx\n") and "until=target" in command


@pytest.mark.parametrize(
    "argv, message",
    [
        (["compile"], "expected the name of a problem, or --in1, --in2, --out"),
        (["compile", "--in1", "4x1o", "--in2", "1o", "--out", "0e"], "expected one of --every-path and --instructions"),
        (["compile", "--in1", "4x1q", "--in2", "1o", "--out", "0e", "--every-path"], "unknown irreps '4x1q'"),
        (
            ["compile", "--in1", "4x1o", "--in2", "1o", "--out", "0e", "--instructions", "0,0"],
            "expected an instruction I1,I2",
        ),
        (["compile", "mace-large", "--target", "tpu", "--emit", "fused"], "unknown target 'tpu'"),
        (["compile", "mace-large", "--emit", "ptx", "--repro"], "expected a stage"),
        (["compile", "mace-large", "--order", "-1"], "grad_order"),
        (["compile", "mace-large", "--dtype", "float8"], "irrep_dtype to be 'float32', 'float64', 'bfloat16' or 'float16'"),
    ],
)
def test_errors_are_one_line(argv, message, capsys):
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [[], ["nonsense"], ["compile", "no-such-problem"], ["compile", "mace-large", "--emit", "sass"]]
)
def test_usage_errors(argv, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2 and "usage:" in capsys.readouterr().err


def test_a_file_that_cannot_be_written(capsys, library):
    assert main(["compile", "mace-medium", "-o", "/nonexistent/x"]) == 1
    assert capsys.readouterr().err.startswith("error: [Errno 2] No such file or directory: '/nonexistent/x'")
