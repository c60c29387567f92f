"""Writes dist/espmm-VERSION-py3-none-manylinux_2_34_x86_64.whl from python/espmm, build/lib/libespmm.so and libespmm_torch.so.

One wheel serves every CPython from 3.10 on: Python reaches the library through ctypes, so nothing in it is built
against a Python; and every torch from 2.10 on, or none: the second library keeps to PyTorch's stable ABI, and is loaded with torch only. Both are
stripped, and refused if they need a glibc or a shared library that the wheel's platform tag does not promise. The same inputs give the same bytes.

Usage: python scripts/make_wheel.py [--library FILE] [--dist FOLDER] [--without-torch]
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GLIBC = (2, 34)
TAG = f"py3-none-manylinux_{GLIBC[0]}_{GLIBC[1]}_x86_64"
# Of what manylinux_2_34 promises, what a C++ library needs; versions of libstdc++ and libgcc as the tag's policy bounds them.
ALLOWED_LIBRARIES = {
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
}
# What the operators for torch find beside them, and in the process that loads them.
ALLOWED_FOR_TORCH = ALLOWED_LIBRARIES | {"libespmm.so", "libtorch_cpu.so"}
HIGHEST_VERSIONS = {"GLIBC": GLIBC, "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13), "GCC": (11, 0)}
# Zip cannot say earlier.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)


class WheelError(RuntimeError):
    """The wheel cannot be written; the message says why."""


def tool(name: str) -> str:
    """One of LLVM's binary tools."""
    return str(Path(os.environ.get("LLVM_PREFIX", "/usr/lib/llvm-22")) / "bin" / name)


def output_of(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise WheelError(f"{command[0]} is not there") from None
    except subprocess.CalledProcessError as error:
        raise WheelError(f"{' '.join(command)}: {error.stderr.strip()}") from None


def needed_libraries(library: Path) -> set[str]:
    """The shared libraries that a shared library is linked to."""
    return set(re.findall(r"^\s*NEEDED\s+(\S+)", output_of(tool("llvm-objdump"), "-p", str(library)), re.MULTILINE))


def needed_versions(library: Path) -> dict[str, tuple[int, ...]]:
    """The highest version of each family (GLIBC, GLIBCXX, ...) that an undefined symbol asks for."""
    highest: dict[str, tuple[int, ...]] = {}
    for family, version in re.findall(r"\*UND\*.*\(([A-Z]+)_([\d.]+)\)", output_of(tool("llvm-objdump"), "-T", str(library))):
        numbers = tuple(map(int, version.split(".")))
        highest[family] = max(highest.get(family, ()), numbers)
    return highest


def check_platform(library: Path, allowed: set[str] = ALLOWED_LIBRARIES) -> None:
    """Refuses a library that would not load everywhere the platform tag says."""
    if others := needed_libraries(library) - allowed:
        raise WheelError(f"{library} is linked to {', '.join(sorted(others))}, which a system of the tag {TAG} need not have")
    for family, version in needed_versions(library).items():
        if version > HIGHEST_VERSIONS.get(family, ()):
            found = ".".join(map(str, version))
            raise WheelError(f"{library} needs {family}_{found}, newer than the tag {TAG} promises")


def metadata(project: dict[str, object], readme: str) -> str:
    """The METADATA file of pyproject.toml's project table."""
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"Requires-Python: {project['requires-python']}",
    ]
    lines += [f"Requires-Dist: {requirement}" for requirement in project.get("dependencies", [])]
    for extra, requirements in project.get("optional-dependencies", {}).items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {requirement}; extra == "{extra}"' for requirement in requirements]
    lines += ["Description-Content-Type: text/markdown", "", readme]
    return "\n".join(lines)


def entry_points(project: dict[str, object]) -> str:
    """The entry_points.txt file of the project's scripts."""
    scripts = project.get("scripts", {"espmm": "espmm.__main__:main"})
    return "\n".join(["[console_scripts]", *(f"{name} = {target}" for name, target in scripts.items()), ""])


def contents(project: dict[str, object], libraries: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Names in the wheel and what they hold; all but RECORD."""
    package = ROOT / "python" / "espmm"
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".mlir") or path.name == "py.typed":
            yield str(Path("espmm") / path.relative_to(package)), path.read_bytes()
    for library in libraries:
        yield f"espmm/lib/{library.name}", library.read_bytes()
    info = f"{project['name']}-{project['version']}.dist-info"
    yield f"{info}/METADATA", metadata(project, (ROOT / "README.md").read_text(encoding="utf-8")).encode()
    wheel = f"Wheel-Version: 1.0\nGenerator: espmm make_wheel.py\nRoot-Is-Purelib: false\nTag: {TAG}\n"
    yield f"{info}/WHEEL", wheel.encode()
    yield f"{info}/entry_points.txt", entry_points(project).encode()


def record_line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"


def write_wheel(path: Path, project: dict[str, object], libraries: list[Path]) -> None:
    """Writes the archive under a temporary name, then renames it: there is never half a wheel."""
    record_name = f"{project['name']}-{project['version']}.dist-info/RECORD"
    records: list[str] = []
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w") as archive:

        def add(name: str, data: bytes) -> None:
            entry = zipfile.ZipInfo(name, TIMESTAMP)
            entry.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            entry.create_system = 3  # Unix
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=9)

        for name, data in contents(project, libraries):
            add(name, data)
            records.append(record_line(name, data))
        add(record_name, "\n".join([*records, f"{record_name},,", ""]).encode())
    partial.replace(path)


def make_wheel(library: Path, dist: Path, with_torch: bool = True) -> Path:
    """Strips and checks the library, and the one for torch beside it, writes the wheel into `dist`, and gives its path."""
    allowed = {library: ALLOWED_LIBRARIES}
    if with_torch:
        allowed[library.with_name("libespmm_torch.so")] = ALLOWED_FOR_TORCH
    for each in allowed:
        if not each.is_file():
            hint = "" if each == library else "; it takes torch's headers (--without-torch leaves it out)"
            raise WheelError(f"{each} is not there: build it first (make build){hint}")
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    dist.mkdir(parents=True, exist_ok=True)
    path = dist / f"{project['name']}-{project['version']}-{TAG}.whl"
    with tempfile.TemporaryDirectory() as folder:
        stripped = []
        for each in allowed:
            check_platform(each, allowed[each])
            name = "libespmm.so" if each == library else each.name
            stripped.append(Path(folder) / name)
            output_of(tool("llvm-strip"), "--strip-unneeded", "-o", str(stripped[-1]), str(each))
            versions = ", ".join(f"{family} {'.'.join(map(str, v))}" for family, v in sorted(needed_versions(stripped[-1]).items()))
            print(f"    {name}: {stripped[-1].stat().st_size / 1e6:.1f} MB stripped, needs at most {versions}")
        write_wheel(path, project, stripped)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, default=ROOT / "build" / "lib" / "libespmm.so")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    parser.add_argument("--without-torch", action="store_true", help="leave the operators for torch out")
    arguments = parser.parse_args()
    try:
        path = make_wheel(arguments.library, arguments.dist, not arguments.without_torch)
    except WheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"    {path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
