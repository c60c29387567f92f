"""The wheel: what it holds, that it is the same each time, and that it works in environments with nothing else.

CPython 3.12 is taken from PYTHON312 or pyenv; where there is none, its test is skipped, and says so.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "build" / "lib" / "libespmm.so"


def script(name: str) -> ModuleType:
    """One of scripts/*.py as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_wheel = script("make_wheel")
check_wheel = script("check_wheel")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wheel.make_wheel(LIBRARY, tmp_path_factory.mktemp("dist"))


def shared_library(folder: Path, source: str, *flags: str) -> Path:
    path = folder / "libtest.so"
    command = [make_wheel.tool("clang"), "-shared", "-fPIC", "-x", "c", "-", "-o", str(path), *flags]
    subprocess.run(command, input=source, text=True, check=True)
    return path


def python312() -> str | None:
    if os.environ.get("PYTHON312"):
        return os.environ["PYTHON312"]
    if shutil.which("pyenv") is None:
        return None
    found = subprocess.run(["pyenv", "prefix", "3.12"], capture_output=True, text=True)
    return f"{found.stdout.strip()}/bin/python3.12" if found.returncode == 0 else None


def test_contents(wheel: Path) -> None:
    """Every module of the package and the library are in it; RECORD has the hash and size of each file."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        package = {str(Path("espmm") / path.relative_to(ROOT / "python/espmm")) for path in (ROOT / "python/espmm").rglob("*.py")}
        assert package | {"espmm/lib/libespmm.so", "espmm/lib/libespmm_torch.so", "espmm/py.typed"} <= set(names)
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
        assert [row[0] for row in rows] == names
        for name, digest, size in rows[:-1]:
            assert make_wheel.record_line(name, archive.read(name)) == f"{name},{digest},{size}"
        assert rows[-1] == [record, "", ""]


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    head = metadata.split("\n\n")[0].splitlines()
    assert "Name: espmm" in head
    assert "Requires-Python: >=3.10" in head
    # It depends on nothing unless asked to.
    assert all("extra ==" in line for line in head if line.startswith("Requires-Dist"))
    assert 'Requires-Dist: torch>=2.10; extra == "torch"' in head


def test_same_bytes_each_time(wheel: Path, tmp_path: Path) -> None:
    assert make_wheel.make_wheel(LIBRARY, tmp_path).read_bytes() == wheel.read_bytes()


def test_refuses_newer_glibc(tmp_path: Path) -> None:
    """arc4random came with glibc 2.36."""
    library = shared_library(tmp_path, "unsigned arc4random(void); unsigned f(void) { return arc4random(); }")
    with pytest.raises(make_wheel.WheelError, match=r"needs GLIBC_2\.36, newer than the tag py3-none-manylinux_2_34_x86_64"):
        make_wheel.make_wheel(library, tmp_path, with_torch=False)


def test_refuses_other_libraries(tmp_path: Path) -> None:
    library = shared_library(tmp_path, "int f(void) { return 0; }", "-Wl,--no-as-needed", "-lz")
    with pytest.raises(make_wheel.WheelError, match=r"is linked to libz\.so\.1"):
        make_wheel.make_wheel(library, tmp_path, with_torch=False)
    with pytest.raises(make_wheel.WheelError, match=r"libespmm_torch\.so is not there: build it first"):
        make_wheel.make_wheel(library, tmp_path)


def test_refuses_missing_library(tmp_path: Path) -> None:
    with pytest.raises(make_wheel.WheelError, match=r"none\.so is not there: build it first"):
        make_wheel.make_wheel(tmp_path / "none.so", tmp_path)


def check(wheel: Path, interpreter: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "check_wheel.py"), "--python", interpreter, str(wheel)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    assert done.returncode == 0


def test_empty_environment(wheel: Path) -> None:
    """Installs, imports and compiles with nothing but the wheel, in the Python at hand."""
    check(wheel, sys.executable)


def test_cpython_312(wheel: Path) -> None:
    """The same wheel in another CPython."""
    interpreter = python312()
    if interpreter is None:
        pytest.skip("no CPython 3.12: PYTHON312 is not set, and pyenv has none")
    check(wheel, interpreter)


def test_readme_example(wheel: Path, tmp_path: Path) -> None:
    """README.md's Python runs from the wheel: torch and e3nn are lent by the environment of the tests."""
    interpreter = check_wheel.install(wheel, sys.executable, tmp_path / "venv")
    site = subprocess.run(
        [str(interpreter), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    (Path(site) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    program = "\n".join(block.split("```", 1)[0] for block in readme.split("```python\n")[1:])
    program += "\nimport pathlib, sys\nfor path in (espmm.__file__, espmm.torch_library()): assert pathlib.Path(path).is_relative_to(sys.prefix), path\n"
    # The operators of the wheel, not of the checkout: what is traced runs with them.
    program += "traced = torch.jit.trace(conv, (x, y, w, receivers, senders), check_trace=False)\n"
    program += "torch.testing.assert_close(traced(x, y, w, receivers, senders), z)\n"
    (tmp_path / "readme.py").write_text(program, encoding="utf-8")
    subprocess.run([str(interpreter), "readme.py"], check=True, cwd=tmp_path, env=check_wheel.clean_environment())
