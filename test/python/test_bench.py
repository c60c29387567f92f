"""python -m espmm bench: peers, arithmetic, files, tables, plots and errors; on the CPU."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("e3nn")

import espmm  # noqa: E402
from espmm.bench import main, report  # noqa: E402
from espmm.bench.figures import Figures, PeerFigure, Row  # noqa: E402
from espmm.bench.graphs import named_graph  # noqa: E402
from espmm.bench.measure import Setting, attempt, flops_per_row, measure_peer, random_operands  # noqa: E402
from espmm.bench.peers import PEERS, CuEquivariance, Form, Unsupported  # noqa: E402
from espmm.bench.reference import PASSES, Product, relative_errors  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
SETTING = Setting(CPU, torch.float64, "mul_ir", False, bandwidth=1e10, budget_s=0.0)
PATHS = ((0, 0, 0, "uvu", True), (0, 1, 1, "uvu", True), (1, 0, 2, "uvu", True))
SMALL = Product("small", "4x0e+4x1o", "0e+1o", "4x0e+4x1o+4x1o", PATHS)


def row(**changes) -> Row:
    known = dict(
        problem="p", graph="A", pass_name="forward", error=1e-7, ms=2.0, repeats=5, floor_ms=1.0, floor_bytes=3e6,
        flops=8e6, peers={"e3nn": PeerFigure(20.0, 1e-7), "flashtp": PeerFigure(5.0, 0.5)},
    )  # fmt: skip
    known["peers"]["cuequivariance"] = PeerFigure(note="no")
    return Row(**{**known, **changes})


def figures(*rows: Row) -> Figures:
    about = {
        "device": "a machine", "threads": None, "dtype": "float32", "layout": "mul_ir", "deterministic": False,
        "resident": False,
        "copy_gigabytes_per_s": 3.0, "matmul_gigaflops_per_s": 50.0, "espmm": "1", "e3nn": "2", "torch": "3",
        "peers": {"e3nn": {"version": "2"}, "openequivariance": {"missing": "ModuleNotFoundError: no"}},
    }  # fmt: skip
    return Figures(about, 2e-6, {"A": {"nodes": 1, "edges": 2}}, {"conv": list(rows)})


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("graph", ["7x5", "9"])
def test_e3nn_is_right_and_timed(layout, graph):
    setting, size = replace(SETTING, layout=layout), named_graph(graph)
    found = measure_peer(
        PEERS["e3nn"], SMALL, size, setting, [random_operands(SMALL, size, setting)], lambda doing: None
    )
    assert list(found) == list(PASSES)
    assert all(figure.error < 1e-14 and figure.ms > 0 and not figure.note for figure in found.values())


@pytest.mark.parametrize("layout", ["mul_ir", "ir_mul"])
@pytest.mark.parametrize("graph", ["7x5", "9"])
def test_cuequivariance_maps_onto_e3nn(layout, graph):
    """Its descriptor, indices, layouts and order of weights, by its plain torch, which needs no GPU."""
    pytest.importorskip("cuequivariance_torch")
    setting, size, product = replace(SETTING, layout=layout), named_graph(graph), Product.named("nequip-aspirin")
    peer, sets = CuEquivariance("naive"), [random_operands(product, size, setting)]
    found = measure_peer(peer, product, size, setting, sets, lambda doing: None)
    assert all(figure.error < 1e-14 for figure in found.values()), found


def test_a_form_there_and_back():
    """A peer with other layouts and another order of weights: e3nn, its columns of weights turned."""
    size = named_graph("6x3")
    operands = random_operands(SMALL, size, SETTING)
    form = Form("ir_mul", tuple(reversed(range(SMALL.dims[2]))))
    turned = form.of_operands(SMALL, "mul_ir", operands)
    assert not torch.equal(turned.x, operands.x) and torch.equal(turned.w, operands.w.flip(1))
    for name, tensor in turned.tensors.items():
        assert torch.equal(form.to_layout(SMALL, "mul_ir", name, tensor), operands.tensors[name])


def test_wrong_results_are_seen():
    size = named_graph("6x3")
    operands = random_operands(SMALL, size, SETTING)
    z = PEERS["e3nn"].bind(SMALL, size.nodes, "mul_ir", operands)(operands.x, operands.y, operands.w)
    right = relative_errors(SMALL, "mul_ir", operands, {"z": z})
    wrong = relative_errors(SMALL, "mul_ir", operands, {"z": 1.5 * z})
    unknown = relative_errors(SMALL, "mul_ir", operands, {"z": z * math.nan})
    assert list(right) == ["forward"] and right["forward"] < 1e-14
    assert wrong["forward"] == pytest.approx(0.5) and math.isnan(unknown["forward"])
    assert report.error(wrong["forward"], 2e-6) == "5.0e-01 WRONG" and report.error(math.nan, 2e-6).endswith(" WRONG")


def test_a_peer_that_fails_is_a_note():
    def broken():
        raise RuntimeError("\nno kernel\nat all")

    assert attempt(broken, SETTING) == (None, "RuntimeError: no kernel")
    assert attempt(lambda: 3, SETTING) == (3, "")
    size = named_graph("5")
    for name, note in (
        ("flashtp", "it has convolutions only"),
        ("openequivariance-det", "a batch has no sums over edges"),
    ):
        with pytest.raises(Unsupported, match=note):
            PEERS[name].bind(SMALL, size.nodes, "mul_ir", random_operands(SMALL, size, SETTING))


def test_gpu_peers_are_missing_on_the_cpu():
    assert [name for name, peer in PEERS.items() if peer.missing(CPU) is None] == ["e3nn"]
    assert PEERS["flashtp"].missing(torch.device("cuda", 0)).startswith("ModuleNotFoundError")


def test_arithmetic(library):
    """A scalar product a channel: w x y, and what adds it up."""
    product = Product("scalars", "8x0e", "0e", "8x0e", ((0, 0, 0, "uvu", True),))
    setting = replace(SETTING, dtype=torch.float32)
    found = flops_per_row(product, setting, conv=True)
    assert 8 * 3 <= found["forward"] <= 8 * 4
    costs = [
        program.cost for program in espmm.compile(product.problem("float32", "mul_ir"), conv=True, grad_order=2).kernels
    ]
    assert list(found.values()) == [cost["multiplications_per_edge"] + cost["additions_per_edge"] for cost in costs]
    assert row().gigaflops_per_s == pytest.approx(4.0) and row().gigabytes_per_s == pytest.approx(1.5)
    assert row().percent_of_floor == 50 and row().speedup("e3nn") == 10 and row().speedup("cuequivariance") is None


def test_files_keep_everything(tmp_path):
    kept = figures(row(), row(graph="B", flops=None, host_ms=3.0))
    kept.save(str(tmp_path / "a.json"))
    assert Figures.load(str(tmp_path / "a.json")) == kept
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_file_of_another_format(tmp_path):
    file = tmp_path / "a.json"
    figures(row()).save(str(file))
    file.write_text(file.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(ValueError, match="to be of format 2, got 1"):
        Figures.load(str(file))


def test_tables():
    text = report.text(figures(row(), row(error=math.nan)))
    assert "peer openequivariance (oeq) is missing: ModuleNotFoundError: no" in text
    assert "5.0e-01 WRONG" in text and "nan WRONG" in text
    assert "cuequivariance: no (p A forward, p A forward)" in text
    assert "10 (p A forward) to 10 times faster than e3nn, in 2 of 2 rows" in text
    assert "2.5 (p A forward) to 2.5 times faster than the best of flashtp, cuequivariance" in text


def test_command(library, tmp_path, capsys):
    """A run, its file, and the plots drawn from the file in a process that has no torch."""
    pytest.importorskip("matplotlib")
    file, plots = tmp_path / "bench.json", tmp_path / "plots"
    arguments = [
        "--device",
        "cpu",
        "--problem",
        "nequip-aspirin",
        "--graph",
        "6x5",
        "--budget",
        "0",
        "--json",
        str(file),
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "peer flashtp is missing: runs on a GPU only" in printed and "GFLOP/s" in printed
    rows = Figures.load(str(file)).suites["conv"]
    assert [row.pass_name for row in rows] == list(PASSES)
    assert all(row.flops > 0 and row.peers["e3nn"].ms > 0 and row.peers["e3nn"].error < 2e-6 for row in rows)
    program = (
        "import sys; sys.modules['torch'] = None; from espmm.bench import main; "
        f"sys.exit(main(['--from-json', {str(file)!r}, '--plot', {str(plots)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert "nequip-aspirin" in done.stdout
    for name in ("bars-conv.png", "roofline-conv.png"):
        assert (plots / name).read_bytes()[:4] == b"\x89PNG" and (plots / name).stat().st_size > 10_000


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--graph", "nonsense"], "--graph: expected A, B, small"),
        (["--from-json", "no-such-file"], "--from-json: "),
        (["--from-json", __file__], "to be what bench --json wrote"),
        (["--device", "cuda"], "torch sees no GPU"),
    ],
)
def test_errors_are_one_line(argv, message, capsys):
    if "cuda" in argv and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("argv", [["--peers", "nobody"], ["--peers", "e3nn", "--no-peers"], ["--suite", "none"]])
def test_usage_errors(argv, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2


@pytest.mark.parametrize("missing, argv", [("ase", ["--graph", "water"]), ("matplotlib", ["--plot", "plots"])])
def test_what_is_not_installed_is_named(missing, argv):
    program = f"import sys; sys.modules[{missing!r}] = None; from espmm.bench import main; sys.exit(main({argv!r}))"
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: --") and missing in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_page_is_what_the_files_say():
    """docs/Benchmarks.md has not drifted from docs/benchmarks."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/benchmarks_doc.py"), "--check"], stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, done.stderr


def test_host_times(capsys, tmp_path):
    """Each call is made and has a time; the file shows the same table again."""
    assert main(["--device", "cpu", "--suite", "host", "--no-peers", "--budget", "0", "--json", str(tmp_path / "host.json")]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "host.json").read_text())["suites"]["host"]
    assert len(rows) == 9 and all(row["us"] > 0 and row["call"] in printed for row in rows)
    assert main(["--from-json", str(tmp_path / "host.json")]) == 0
    assert printed.split("host, microseconds a call")[1].strip() in capsys.readouterr().out
