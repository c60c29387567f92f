"""The operators' library in other processes, threads and on other devices than usual."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from espmm import every_path_problem, forward_program
from torch_operators import BATCH, BUILD, FLOAT, alone

pytestmark = pytest.mark.usefixtures("operators")


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> str:
    """A file with the strings of a product and its gradient."""
    path = tmp_path_factory.mktemp("programs") / "programs"
    path.write_text(BATCH.serialize() + "=====" + BATCH.vjp((0, 1, 2), (0,)).serialize())
    return str(path)


def test_threads_and_forks(programs):
    """Eight threads want the same program at once; a child that is forked meanwhile runs it, and one that nobody has compiled yet."""
    text = """
results, errors = [None] * 8, []
barrier = threading.Barrier(9)
def work(i):
    barrier.wait()
    for _ in range(50):
        results[i] = run(program, batch[:3])[0]
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads: thread.start()
barrier.wait()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        z, = run(program, batch[:3])
        ok = len(run(gradient, batch[:3] + [z])) == 3
        os._exit(0 if ok else 1)
    children.append(child)
for thread in threads: thread.join()
assert all(torch.equal(r, results[0]) for r in results)
print([os.waitpid(child, 0)[1] for child in children])
"""
    assert alone(text, programs, ESPMM_CACHE="0") == "[0, 0, 0]\n"


def test_nothing_leaks(programs):
    """Neither a string of a megabyte, nor tensors, nor what a call that fails was given."""
    text = """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
long = "// " + "x" * 2**20 + "\\n" + program
rows = [torch.randn(2000, t.shape[1], dtype=torch.float64) for t in batch]
def call(count):
    for _ in range(count):
        run(long, rows[:3])
        try:
            run(long, [rows[0].clone(), *rows[:2]])
        except ValueError:
            pass
call(30)
before = resident()
call(150)
print(resident() - before)
"""
    assert float(alone(text, programs)) < 40


def test_threads_of_host_kernels_are_torchs(programs):
    text = """
espmm = ctypes.CDLL(os.path.join(os.path.dirname(sys.argv[1]), "libespmm.so"))
for threads in (3, 1, 2):
    torch.set_num_threads(threads)
    run(program, batch[:3])
    print(espmm.espmm_get_num_threads())
espmm.espmm_set_num_threads(4)
run(program, batch[:3])
print(espmm.espmm_get_num_threads())
"""
    assert alone(text, programs).split() == ["3", "1", "2", "4"]


FAKE = BUILD / "fake-cuda"


def with_fake_driver(program: str, **environment: str) -> str:
    """The block of the first kernel of a program that is loaded on the fake GPU of the unit tests, or the error."""
    if not (FAKE / "libcuda.so.1").exists():
        pytest.skip(f"{FAKE} is not built")
    text = """
import ctypes, json, sys
from espmm import _capi
handle, library = ctypes.c_void_p(), _capi.library()
try:
    _capi.check(library.espmm_program_load(sys.stdin.read().encode(), 0, ctypes.byref(handle)))
    print(next(step["block"] for step in json.loads(library.espmm_executable_manifest(handle))["steps"] if "block" in step))
except Exception as error:
    print(type(error).__name__, error)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LD_LIBRARY_PATH": str(FAKE), **environment}
    done = subprocess.run([sys.executable, "-c", text], input=program, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() + done.stderr


def test_a_tuned_schedule_is_found(tmp_path, monkeypatch):
    """By the library, where espmm.tune's Python put it."""
    from espmm import schedules

    monkeypatch.setenv("ESPMM_CACHE", "1")
    monkeypatch.setenv("ESPMM_CACHE_DIR", str(tmp_path))
    program = forward_program(FLOAT, conv=True)
    chosen = json.loads(with_fake_driver(program.serialize()))
    warps = 1 if chosen[1] != 1 else 2
    file = schedules.store(program, "cuda:sm_90", {"warps": warps}, {})
    assert json.loads(with_fake_driver(program.serialize())) == [32, warps, 1]
    assert json.loads(with_fake_driver(program.serialize(), ESPMM_TUNED="0")) == chosen
    given = program.with_schedule({"warps": 8})
    assert json.loads(with_fake_driver(given.serialize())) == [32, 8, 1]
    # Another chip, and another program, have others.
    assert json.loads(with_fake_driver(program.serialize(), ESPMM_FAKE_CHIP="80")) == chosen
    file.chmod(0o666)
    block, _, warning = with_fake_driver(program.serialize()).partition("espmm: warning: ")
    assert json.loads(block) == chosen and f"{file} can't be read (can be written to by others)" in warning
    file.chmod(0o600)
    for damaged in ("{", '{"format": 1, "schedule": {"warps": 3}}', '{"format": 2, "schedule": {}}', '{"format": 1, "schedule": {"x": "}"}}'):
        file.write_text(damaged)
        block, _, warning = with_fake_driver(program.serialize()).partition("espmm: warning: ")
        assert json.loads(block) == chosen and f"{file} is damaged" in warning


def test_gpus_that_do_not_suit():
    program = forward_program(FLOAT, conv=True).serialize()
    told = with_fake_driver(program, ESPMM_FAKE_CHIP="75")
    assert told.startswith("UnsupportedError expected a GPU of compute capability 8.0 or later, got 7.5 of cuda:0 (Fake GPU)")
    told = with_fake_driver(program, ESPMM_FAKE_SHARED="1024")
    assert told.startswith("UnsupportedError kernel conv_0: a block needs ") and "espmm-translate --to-ptx" in told
    # The compiler's choice does not fit, a smaller one does.
    large = forward_program(every_path_problem("128x0e+128x1o", "0e+1o+2e", "0e+1o"), conv=True).serialize()
    assert json.loads(with_fake_driver(large))[1] > 1
    for shared in range(65536, 2048, -2048):
        told = with_fake_driver(large, ESPMM_FAKE_SHARED=str(shared))
        if told.startswith("UnsupportedError"):
            break
        block = json.loads(told)
    assert block[1] == 1, "smaller ones were tried before it gave up"
