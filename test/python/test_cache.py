"""The disk cache as a user meets it: python -m espmm cache, entries that can't be trusted, places where nothing can be kept."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import espmm
import pytest
from espmm import _capi, cache, every_path_problem, schedules
from espmm.__main__ import main
from espmm.program import forward_program

PROBLEM = every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o")

#: Compiles three passes, runs one of them, and says how many programs were found and how many had to be made.
PROGRAM = """
import numpy as np
import espmm
problem = espmm.every_path_problem("4x0e+4x1o", "0e+1o", "0e+1o")
kernel = espmm.compile(problem, grad_order=2).load()
x, y, w = (np.full((3, n), 0.5, np.float32) for n in (16, 4, problem.weight_numel))
(z,) = kernel.kernels[0](x, y, w)
counts = espmm.info()["cache"]["this_process"]
print(float(z.sum()), counts["found"], counts["made"])
"""


def run(setup: str = "", **environment: str) -> tuple[float, int, int, list[str]]:
    """What PROGRAM prints, and the library's warnings."""
    drop = ("ESPMM_CACHE", "ESPMM_CACHE_DIR", "ESPMM_CACHE_LIMIT", "XDG_CACHE_HOME")
    clean = {name: value for name, value in os.environ.items() if name not in drop}
    environment = {**clean, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run(
        [sys.executable, "-c", setup + PROGRAM], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    total, found, made = done.stdout.split()
    return float(total), int(found), int(made), [line for line in done.stderr.splitlines() if "warning" in line]


@pytest.fixture
def folder(library, monkeypatch, tmp_path) -> Path:
    """The cache's folder, with the three programs in it."""
    monkeypatch.delenv("ESPMM_CACHE", raising=False)
    monkeypatch.setenv("ESPMM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_kept_is_found_and_what_can_not_be_trusted_is_compiled_anew(folder):
    place = {"ESPMM_CACHE_DIR": str(folder)}
    total, found, made, warnings = run(**place)
    assert (found, made, warnings) == (0, 3, [])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert run(**place) == (total, 3, 0, [])
    damaged, open_to_others, link = sorted(folder.glob("*.espmm"))
    content = bytearray(damaged.read_bytes())
    content[-100] ^= 1  # in the machine code
    damaged.write_bytes(content)
    open_to_others.chmod(0o666)
    link.rename(folder / "elsewhere")
    link.symlink_to(folder / "elsewhere")
    with_warnings = run(**place)
    assert with_warnings[:3] == (total, 0, 3)
    for file, why in (
        (damaged, "is damaged: its checksum does not match"),
        (open_to_others, "can be written to by others"),
        (link, "is a link"),
    ):
        assert sum(f"{file} {why}; it is compiled anew" in line for line in with_warnings[3]) == 1, with_warnings
    assert run(**place) == (total, 3, 0, [])  # repaired
    folder.chmod(0o770)
    refused = run(**place)
    assert refused[:3] == (total, 0, 3) and len(refused[3]) == 1, refused
    assert f"can't be kept in {folder}: it can be written to by others" in refused[3][0]


def test_what_another_build_keeps_is_not_found(folder, tmp_path):
    """The key has a hash of the library's sources, here another one; neither build takes the other's entries, nor warns of them."""
    library = next(path for path in _capi.candidates() if path.is_file()).read_bytes()
    (build,) = set(re.findall(rb" ([0-9a-f]{64})\0", library))
    other = tmp_path / "libespmm.so"
    other.write_bytes(library.replace(b" " + build + b"\0", b" " + build[::-1] + b"\0"))
    here, there = {"ESPMM_CACHE_DIR": str(folder)}, {"ESPMM_CACHE_DIR": str(folder), "ESPMM_LIBRARY": str(other)}
    total, found, made, warnings = run(**here)
    assert (found, made, warnings) == (0, 3, [])
    assert run(**there) == (total, 0, 3, [])
    assert len(list(folder.glob("*.espmm"))) == 6
    assert run(**here) == run(**there) == (total, 3, 0, [])


@pytest.mark.parametrize(
    ("setup", "environment", "warning"),
    [
        # A file of more than 4 KiB can't be written: a full disk in small.
        ("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))", {"HOME": "{home}"}, "File too large"),
        ("", {"HOME": "/dev/null"}, "compiled code can't be kept in /dev/null/.cache/espmm: it can't be made"),
        ("", {"HOME": "/proc/self"}, "compiled code can't be kept in /proc/self/.cache/espmm: it can't be made"),
        ("", {"HOME": ""}, "compiled code can't be kept in a cache folder: this user has no home"),
        ("", {"HOME": "{home}", "ESPMM_CACHE_LIMIT": "9"}, "is more than ESPMM_CACHE_LIMIT"),
    ],
    ids=["full disk", "no place", "read-only home", "no home", "no room"],
)
def test_where_nothing_can_be_kept(library, tmp_path, setup, environment, warning):
    environment = {name: value.format(home=tmp_path) for name, value in environment.items()}
    _, found, made, warnings = run(setup, **environment)
    assert (found, made) == (0, 3)
    assert len(warnings) == 1 and warning in warnings[0], warnings
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.parametrize("target", ["cpu", "cuda:sm_90"])
def test_a_fresh_process_compiles_nothing_that_is_there(folder, target):
    """How long that takes, `python -m espmm bench --suite compile` measures."""
    program = f"""
import espmm
problem = espmm.named_problem("mace-large", shared_weights=False, internal_weights=False)
kernel = espmm.compile(problem, {target!r}, conv=True, grad_order=2)
if {target!r} == "cpu":
    kernel.load()
print(espmm.info()["cache"]["this_process"]["made"])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    made = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
        made.append(done.stdout.strip())
    assert made == ["3", "0"]


def test_nothing_kept_is_a_pickle(folder):
    import pickle

    espmm.compile(every_path_problem("9x0e+9x1o", "0e+1o", "0e+1o"), "cuda:sm_90", grad_order=1)
    schedules.store(forward_program(PROBLEM), "cuda:sm_90", {"warps": 2}, {})
    kept = [file for file in folder.iterdir() if file.name != ".lock"]
    assert {file.suffix for file in kept} == {".espmm", ".json"}
    for file in kept:
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError)), file.open("rb") as stream:
            pickle.load(stream)
    readers = [Path(espmm.__file__).with_name(name).read_text() for name in ("cache.py", "schedules.py", "_capi.py")]
    assert not any("pickle" in text or "torch.load" in text for text in readers)


def out_of(capsys, *argv: str, status: int = 0) -> str:
    assert main(["cache", *argv]) == status
    return capsys.readouterr().out


def test_the_command(capsys, folder):
    assert out_of(capsys) == f"{folder}: 0 entries, 0 bytes (compiled code is kept up to 1.0 GiB)\n"
    assert out_of(capsys, "verify") == "0 entries, 0 of them would not be used\n"
    # Programs of this test alone: others of this process may have them in memory.
    problem = every_path_problem("7x0e+7x1o", "0e+1o", "0e+1o")
    espmm.compile(problem, "cuda:sm_90")
    espmm.compile(problem, conv=True)
    assert schedules.store(forward_program(problem), "cuda:sm_90", {"warps": 2}, {}).exists()
    listed = json.loads(out_of(capsys, "list", "--json"))
    assert listed["folder"] == str(folder) and listed["limit_bytes"] == 1 << 30
    kinds = sorted((entry["kind"], entry["what"].split()[0]) for entry in listed["entries"])
    assert kinds == [("program", "cpu"), ("program", "cuda:sm_90"), ("schedule", "cuda:sm_90")]
    for entry in listed["entries"]:
        assert entry["bytes"] == (folder / entry["name"]).stat().st_size and entry["problem"] is None
    text = out_of(capsys, "list")
    assert text.startswith(f"{folder}: 3 entries, ") and "conv_0" in text and 'x = "7x0e+7x1o"' in text and '{"warps": 2}' in text

    program, schedule = next(folder.glob("*.espmm")), next(folder.glob("*.json"))
    before = program.stat().st_mtime
    program.write_bytes(program.read_bytes()[:-1])
    os.utime(program, (before - 7200, before - 7200))
    schedule.chmod(0o602)
    assert set(out_of(capsys, "verify", status=1).splitlines()) == {
        f"{program.name} has the wrong length",
        f"{schedule.name} can be written to by others",
        "3 entries, 2 of them would not be used",
    }
    last = out_of(capsys, "list").splitlines()[-1]
    assert last.startswith(program.name[:12]) and "not used: it has the wrong length" in last
    assert program.stat().st_mtime == before - 7200  # to be listed is no use
    assert out_of(capsys, "clear", "--keep-schedules") == "2 files removed\n"
    assert out_of(capsys, "clear") == "1 files removed\n"
    assert cache.listing().entries == []


def test_the_command_refuses_a_folder_of_others(capsys, folder):
    folder.mkdir()
    folder.chmod(0o777)
    for action in ("list", "verify", "clear"):
        assert espmm.info()["cache"]["state"] == "not used: it can be written to by others"
        assert main(["cache", action]) == 1
        assert f"error: the cache folder {folder} can be written to by others" in capsys.readouterr().err


def test_the_command_without_a_cache(capsys, library, monkeypatch):
    monkeypatch.setenv("ESPMM_CACHE", "0")
    assert out_of(capsys).startswith("off: 0 entries")
    assert out_of(capsys, "clear") == "0 files removed\n"


@pytest.mark.parametrize("which", ["folder", "file", "link"])
def test_a_schedule_of_others_is_not_used(which, folder):
    program = forward_program(PROBLEM, conv=True)
    file = schedules.store(program, "cuda:sm_90", {"stages": 3}, {})
    schedules._known.clear()
    assert schedules.scheduled(program, "cuda:sm_90").schedule == {"stages": 3}
    if which == "link":
        file.rename(folder / "elsewhere")
        file.symlink_to(folder / "elsewhere")
    else:
        (folder if which == "folder" else file).chmod(0o722 if which == "folder" else 0o622)
    schedules._known.clear()
    if which == "folder":
        assert schedules.scheduled(program, "cuda:sm_90") is program
        with pytest.warns(UserWarning, match="can be written to by others"):
            assert schedules.store(program, "cuda:sm_90", {"stages": 4}, {}) is None
    else:
        with pytest.warns(UserWarning, match=f"{file.name} (is a link|can be written to by others); it is ignored"):
            assert schedules.scheduled(program, "cuda:sm_90") is program
    schedules._known.clear()


def test_the_library_says_what_goes_wrong(library, monkeypatch):
    monkeypatch.setenv("ESPMM_CACHE_DIR", "/dev/null/none")
    monkeypatch.delenv("ESPMM_CACHE", raising=False)
    assert _capi.cache_clear() == 0 and _capi.cache_list()["entries"] == []
