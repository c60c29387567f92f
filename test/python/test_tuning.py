"""espmm.tune: the search, on real programs with a clock that is made up; what is kept, and who uses it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import warnings

import espmm
import pytest
import torch
from espmm import _capi, every_path_problem, schedules, tuning
from espmm.program import SCHEDULE, forward_program
from helpers import random_edges, random_inputs, reference_conv, relative_error

PROBLEM = every_path_problem("8x0e+8x1o", "0e+1o", "0e+1o")
TARGET = "cuda:sm_90"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder of this test's own."""
    monkeypatch.delenv("ESPMM_CACHE", raising=False)
    monkeypatch.setenv("ESPMM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(schedules, "_known", {})
    return tmp_path


class Clock:
    """Compiles for a GPU that is not there; times are a function of what the compiler made, results are numbers."""

    target = TARGET

    def __init__(self, cost=None, result=None):
        self.cost = cost or (lambda program: 1.0)
        self.result = result or (lambda program: 1.0)
        self.prepared, self.measured = [], []

    def prepare(self, program):
        self.prepared.append(program.schedule)
        executable = _capi.Executable(program.text, program.pipeline(TARGET))
        return executable.code("ptx") + repr(executable.manifest["steps"])

    def run(self, program):
        return [self.result(program)] * len(program.results)

    def error(self, got, expected):
        return abs(got - expected) / abs(expected)

    def seconds(self, program):
        self.measured.append((program.order, program.schedule))
        return self.cost(program)


def made_of(program) -> dict:
    """The numbers of the schedule that the compiler makes of a program's wishes."""
    text = espmm.CompiledProgram(program, TARGET).ir("tiled")
    found = dict(re.findall(r"(\w+) = (\d+)", re.search(r"equivariant.schedule<([^>]*)>", text)[1]))
    return {"warps": 1, "stages": 2, **{name: int(value) for name, value in found.items()}}


def valley(program) -> float:
    """Fastest with 2 warps, 3 stages and 96 registers, each by itself better than its neighbours."""
    made = made_of(program)
    return 1 + abs(made["warps"] - 2) + abs(made["stages"] - 3) + abs(made["registers"] - 96) / 100


def tune(runner, **options):
    return espmm.tune(PROBLEM, conv=True, runner=runner, **{"progress": False, "grad_order": 0, **options})


def test_every_number_has_candidates():
    assert set(tuning.CANDIDATES) == set(SCHEDULE)
    for name, values in tuning.CANDIDATES.items():
        assert all(value in SCHEDULE[name] for value in values)


def test_the_search_finds_the_valley_and_keeps_it(library, folder, capsys):
    clock = Clock(valley)
    result = tune(clock, grad_order=1, progress=True)
    best = {"warps": 2, "stages": 3, "registers": 96}
    assert [found.schedule for found in result.orders] == [best, best]
    assert all(found.best_seconds == 1 < found.default_seconds for found in result.orders)
    assert "order 1: registers: " in capsys.readouterr().err
    table = str(result).splitlines()
    assert table[0].split() == ["order", "default", "tuned", "gain", "tried", "schedule"] and len(table) == 3
    assert "warps=2, stages=3, registers=96" in table[1] and table[2].startswith("1 ")
    # Each code is measured once, but the default's and the winner's, again at the end.
    for order in (0, 1):
        once = [str(mark) for at, mark in clock.measured if at == order and mark not in ({}, best)]
        assert once and len(once) == len(set(once))
    assert len(list(folder.glob("*.schedule.json"))) == espmm.info()["cache"]["schedules"] == 2

    # Later compiles, of this process and of another one, go by it; the CPU and other chips do not.
    kernel = espmm.compile(PROBLEM, TARGET, conv=True, grad_order=1)
    for order in (0, 1):
        assert "warps = 2, stages = 3, registers = 96>" in kernel.ir("tiled", order=order)
        assert "warps=2 stages=3 registers=96" in kernel.repro("tiled", order=order)
    assert espmm.compile(PROBLEM, "cuda:sm_80", conv=True).kernels[0].program.schedule == {}
    assert espmm.compile(PROBLEM, "cpu", conv=True).kernels[0].program.schedule == {}
    assert espmm.compile(PROBLEM, TARGET).kernels[0].program.schedule == {}
    text = (
        "import espmm\n"
        "p = espmm.every_path_problem('8x0e+8x1o', '0e+1o', '0e+1o')\n"
        f"print(espmm.compile(p, '{TARGET}', conv=True).kernels[0].program.schedule)\n"
        f"print(espmm.compile(p, '{TARGET}', conv=True, schedule={{'stages': 2}}).kernels[0].program.schedule)"
    )
    for ignored, expected in (("", str(best)), ("0", "{}")):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ESPMM_TUNED": ignored}
        done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == [expected, "{'stages': 2}"]


def test_launchers_go_by_what_was_kept(library, folder, monkeypatch):
    """A launcher for a GPU asks for the tuned program, with the smaller ones to fall back to; none is here to load it."""
    from espmm import launch

    asked = []

    class Fake(_capi.Executable):
        def __init__(self, text, pipeline):
            asked.append(pipeline)
            super().__init__(text, pipeline)

        def load(self, device):
            if len(asked) < fails:
                raise espmm.UnsupportedError("a block needs 300000 bytes of shared memory, cuda:0 has 101376")

    fails = 0
    monkeypatch.setattr(_capi, "Executable", Fake)
    monkeypatch.setattr(launch, "target_of", lambda device: TARGET)
    device = torch.device("cuda", 0)
    program = forward_program(PROBLEM, conv=True)
    schedules.store(program, TARGET, {"stages": 4}, {})
    assert launch.Launcher(program, device).program.schedule == {"stages": 4}
    assert launch.Launcher(program, device, tuned=False).program.schedule == {}
    assert launch.Launcher(program.with_schedule({"warps": 1}), device).program.schedule == {"warps": 1}

    # What does not fit is made smaller, unless somebody asked for it.
    asked.clear()
    fails = 3
    assert launch.Launcher(program, device, tuned=False).program.schedule == {"stages": 2, "warps": 2}
    assert len(asked) == 3
    fails = 1000
    with pytest.raises(espmm.UnsupportedError, match="300000 bytes of shared memory") as caught:
        launch.Launcher(program.with_schedule({"warps": 8}), device)
    # The message names the kernel and has the command, with a file that is there.
    assert "kernels conv_0" in str(caught.value)
    command = str(caught.value).split("its compile is repeated by: ")[1]
    assert "warps=8" in command and "espmm-translate --to-ptx" in command
    assert open(command.split()[1]).read() == program.text


def test_the_compilers_choice_stays_where_nothing_is_faster(library, folder):
    clock = Clock(lambda program: 1.0 if not program.schedule else 0.995)
    (found,) = tune(clock).orders
    assert found.schedule == {} and found.best_seconds == found.default_seconds
    assert schedules.find(found.program, TARGET)["schedule"] == {}
    assert "the compiler's" in str(tuning.Tuning(TARGET, [found]))


def test_luck_does_not_stay(library, folder):
    """A time that was short once, and is not when measured again."""
    times = []

    def cost(program):
        times.append(program.schedule)
        return 0.5 if program.schedule and times.count(program.schedule) == 1 else 1.0

    assert tune(Clock(cost)).orders[0].schedule == {}


def test_another_result_is_a_bug(library, folder):
    clock = Clock(valley, result=lambda program: 1 + 1e-4 * ("stages" in program.schedule))
    message = r"schedule {'stages': .} gives another z .*relative error 1.00e-04.*is a bug"
    with pytest.raises(RuntimeError, match=message) as caught:
        tune(clock)
    assert "espmm-opt" in str(caught.value)
    assert not list(folder.iterdir()) or not list(folder.glob("*.schedule.json"))
    tune(Clock(valley, result=lambda program: 1 + 1e-7 * len(program.schedule)))  # rounding is none


def test_what_does_not_compile_or_fit_is_passed_over(library, folder):
    class Small(Clock):
        def prepare(self, program):
            if program.schedule.get("warps", 0) > 2:
                raise espmm.UnsupportedError("a block needs more shared memory than there is")
            return super().prepare(program)

    (found,) = tune(Small(lambda program: 1 / program.schedule.get("warps", 0.5))).orders
    assert found.schedule.get("warps") == 2
    refused = [trial for trial in found.trials if trial.seconds is None]
    assert {trial.schedule["warps"] for trial in refused} == {4, 8} and "shared memory" in refused[0].note


def test_the_budget_is_kept(library, folder, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tuning.time, "monotonic", lambda: now[0])

    def cost(program):
        now[0] += 1.0
        return valley(program)

    clock = Clock(cost)
    result = tune(clock, budget_s=25.0, grad_order=1)
    assert len(result.orders) == 2
    # An order may begin a comparison of the winner with the compiler's choice, six measurements, at the last moment.
    assert 20 <= now[0] <= 25 + 2 * 6 and all(len(found.trials) >= 2 for found in result.orders)
    now[0] = 0.0
    clock = Clock(cost)
    assert [found.schedule for found in tune(clock, budget_s=0.5).orders] == [{}] and clock.measured == [(0, {})]


def test_programs_are_those_that_modules_launch(library, folder, monkeypatch):
    from espmm import launch

    launched = []
    launch_before = launch.Launcher.__call__

    def noting(self, *arguments):
        launched.append(self.program)
        return launch_before(self, *arguments)

    monkeypatch.setattr(launch.Launcher, "__call__", noting)
    for wrt in ("xyw", "yw"):
        launched.clear()
        inputs = [t.float().requires_grad_(name in wrt) for name, t in zip("xyw", random_inputs(PROBLEM, 9, 6))]
        z = espmm.TensorProductConv(PROBLEM)(*inputs, *random_edges(6, 9))
        wanted = [t for t in inputs if t.requires_grad]
        first = torch.autograd.grad(z.square().sum(), wanted, create_graph=True)
        sum(g.square().sum() for g in first).backward()
        expected = tuning.programs_to_tune(PROBLEM, True, 2, wrt, False)
        assert launched[:2] == expected[:2] and expected[2] in launched


@pytest.mark.parametrize(
    "options, message",
    [
        ({"conv": True}, "expected graph= for a convolution"),
        ({"rows": 5, "conv": True}, "expected graph= for a convolution"),
        ({}, "expected rows= for a product without a graph"),
        ({"rows": 10, "device": "cpu"}, "schedules for the CPU have nothing to tune, got cpu"),
        ({"runner": Clock(), "budget_s": 0}, "expected budget_s to be positive"),
        ({"runner": Clock(), "wrt": "q"}, "expected wrt to be some of 'xyw', got 'q'"),
        ({"runner": Clock(), "grad_order": -1}, "grad_order to be an integer >= 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        espmm.tune(PROBLEM, **options)


def test_a_graph_on_the_cpu_is_refused(library):
    with pytest.raises(ValueError, match="schedules for the CPU have nothing to tune"):
        espmm.tune(PROBLEM, espmm.Graph(*random_edges(6, 9), 6))


def test_the_folder_is_the_librarys(library, monkeypatch, tmp_path):
    home = {"HOME": str(tmp_path / "home")}
    for environment in (
        {"ESPMM_CACHE_DIR": str(tmp_path / "a")},
        {"XDG_CACHE_HOME": str(tmp_path / "b")},
        {"XDG_CACHE_HOME": "relative", **home},
        home,
        {"ESPMM_CACHE": "0"},
    ):
        for name in ("ESPMM_CACHE", "ESPMM_CACHE_DIR", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        found = espmm.info()["cache"]
        assert str(schedules.folder()) == found.get("folder", "None"), environment


def test_keys_tell_programs_chips_and_versions_apart(monkeypatch):
    program = forward_program(PROBLEM, conv=True)
    exact = forward_program(PROBLEM, conv=True, deterministic=True)
    programs = (program, program.vjp((0,), (0,)), program.vjp((0, 1), (0,)), exact)
    keys = {schedules.key(p, target) for p in programs for target in (TARGET, "cuda:sm_80")}
    assert len(keys) == 8
    assert schedules.key(program.with_schedule({"stages": 3}), TARGET) == schedules.key(program, TARGET)
    before = schedules.key(program, TARGET)
    monkeypatch.setattr(espmm, "__version__", "99")
    assert schedules.key(program, TARGET) != before


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"format": 2, "schedule": {}}', '{"format": 1}', '{"format": 1, "schedule": {"warps": 3}}', "\0\xff"],
)
def test_damaged_entries_are_ignored_with_a_warning(text, folder):
    program = forward_program(PROBLEM, conv=True)
    file = schedules.path(program, TARGET)
    assert schedules.store(program, TARGET, {"stages": 3}, {"default_s": 1.0}) == file
    assert json.loads(file.read_text())["schedule"] == {"stages": 3}
    file.write_bytes(text.encode("latin-1"))
    schedules._known.clear()
    with pytest.warns(UserWarning, match=f"{file.name} .*it is ignored"):
        assert schedules.scheduled(program, TARGET) is program
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert schedules.find(program, TARGET) is None  # said once
        schedules.store(program, TARGET, {"stages": 4}, {})
    schedules._known.clear()
    assert schedules.scheduled(program, TARGET).schedule == {"stages": 4}


def test_a_folder_that_can_not_be_written(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv("ESPMM_CACHE_DIR", str(folder / "file" / "cache"))
    program = forward_program(PROBLEM, conv=True)
    with pytest.warns(UserWarning, match="lasts as long as this process"):
        assert schedules.store(program, TARGET, {"stages": 3}, {}) is None
    assert schedules.scheduled(program, TARGET).schedule == {"stages": 3}


def _write_and_read(folder: str, number: int) -> int:
    os.environ["ESPMM_CACHE_DIR"] = folder
    os.environ.pop("ESPMM_CACHE", None)
    program = forward_program(PROBLEM, conv=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for turn in range(100):
            schedules.store(program, TARGET, {"rows": 1 + number}, {"filler": "x" * 2000 * number})
            schedules._known.clear()
            assert 1 <= schedules.find(program, TARGET)["schedule"]["rows"] <= 4
    return number


def test_many_writers_at_once(folder):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        assert sorted(pool.starmap(_write_and_read, [(str(folder), n) for n in range(4)])) == [0, 1, 2, 3]
    assert len(list(folder.iterdir())) == 1  # no temporary file is left


def test_tracers_meet_the_new_schedule(library, folder):
    """What is known by its text is launched anew."""
    program = forward_program(PROBLEM.replace(layout="ir_mul"), conv=True)
    program.serialize()
    gradient = program.vjp((0, 1, 2), (0,))
    for p in (program, gradient):
        p.memo["device"] = p.memo["launcher", "device"] = "compiled before"
    espmm.tune(PROBLEM.replace(layout="ir_mul"), conv=True, runner=Clock(), grad_order=1, budget_s=1e-9, progress=False)
    assert not {"device", ("launcher", "device")} & {*program.memo, *gradient.memo}


@pytest.mark.cuda
def test_on_a_gpu(library, folder):
    """Five seconds on a small problem: results stay right, and a new module goes by what was kept."""
    from espmm.launch import launcher_of

    receivers, senders = random_edges(200, 4000)
    graph = espmm.Graph(receivers.cuda(), senders.cuda(), 200)
    result = espmm.tune(PROBLEM, graph, grad_order=2, budget_s=5.0)
    print(result)
    assert len(result.orders) == 3 and all(found.best_seconds <= found.default_seconds for found in result.orders)
    assert all(len(found.trials) > 1 for found in result.orders)
    # A schedule that is kept for sure, whatever was fastest.
    forward = result.orders[0].program
    target = f"cuda:sm_{''.join(map(str, torch.cuda.get_device_capability()))}"
    schedules.store(forward, target, {"warps": 2, "stages": 4}, {})
    conv = espmm.TensorProductConv(PROBLEM)
    inputs = [t.float().cuda().requires_grad_() for t in random_inputs(PROBLEM, 4000, 200)]
    z = conv(*inputs, graph)
    device = z.device
    assert launcher_of(conv._program, device).program.schedule == {"warps": 2, "stages": 4}
    exact = [t.detach().cpu().double().requires_grad_() for t in inputs]
    expected = reference_conv(PROBLEM, receivers, senders, 200)(*exact)
    assert relative_error(z, expected) < 2e-6
    ours, theirs = (torch.autograd.grad(v.square().sum(), t) for v, t in ((z, inputs), (expected, exact)))
    assert all(relative_error(a, b) < 1e-5 for a, b in zip(ours, theirs))
    gradient = conv._program.vjp((0, 1, 2), (0,))
    assert launcher_of(gradient, device).program.schedule == result.orders[1].schedule


def time_schedules(*arguments: str) -> subprocess.CompletedProcess:
    script = os.path.join(os.path.dirname(__file__), "../../scripts/time_schedules.py")
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)


def test_times_side_by_side_need_a_gpu(library):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    found = time_schedules("mace-medium@50x4")
    assert found.returncode == 2 and "expected a GPU, torch sees none" in found.stderr


@pytest.mark.cuda
def test_times_side_by_side(library):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    case = ["nequip-aspirin:det@50x4", "--orders", "1", "--turns", "1", "--schedule"]
    found = time_schedules(*case, '{"group_by": 1}', '{"warps": 1}')
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert len(lines) == 3 and all(re.search(r"order 1 .* ms \(.*, error \d\.\de[-+]\d\d", line) for line in lines)
