"""Every code block of README.md and docs/GettingStarted.md is run.

The Python blocks of a page are one program, run top to bottom as a reader would. Shell blocks run line by line in the root
of the repository; a line that would take long, or would run these tests again, runs in the form that `_AFFORDABLE` gives it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/GettingStarted.md"]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")

# What is run in place of a line: the first pattern that matches it whole.
_AFFORDABLE = [
    # Resolves the packages, installs nothing.
    (r"apt-get install -y (.*)", r"apt-get install -y --simulate \1"),
    # The same program on 8 atoms.
    (r"make demo", r'make demo DEMO_FLAGS="--quick --output {folder}/demo.png"'),
    # This test is part of it.
    (r"make test", r"make --dry-run test"),
    # It makes environments of gigabytes; what runs there is tested in them (make test-clients).
    (r"make clients", r"make --dry-run clients"),
    (r"\.clients/sevenn/bin/python (.*)", r"python \1 --help"),
    # The same command on a small problem: the last of an option's values counts.
    (r"(python -m espmm bench.*)", r"\1 --device cpu --problem nequip-aspirin --graph 6x5 --budget 0"),
    # It stops where there is no GPU; that it does, and why, is tested below.
    (r"bash scripts/gpu_test.sh", r"bash scripts/gpu_test.sh --help"),
    (r"(python -m espmm compile .*) -o source.mlir", r"\1 -o {folder}/source.mlir"),
]


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line it starts at."""

    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 1) for m in _FENCE.finditer(text)]


def shell_lines() -> list[pytest.param]:
    return [
        pytest.param(line, id=f"{page}:{block.line + 1 + i}: {line}")
        for page in PAGES
        for block in blocks(page)
        if block.language == "bash"
        for i, line in enumerate(block.text.splitlines())
    ]


def affordable(line: str, folder: Path) -> str:
    for pattern, replacement in _AFFORDABLE:
        match = re.fullmatch(pattern, line)
        if match:
            return match.expand(replacement).format(folder=folder)
    return line


def environment() -> dict[str, str]:
    """As scripts/common.sh sets it for the checkout."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return os.environ | {"PYTHONPATH": str(ROOT / "python"), "PATH": os.pathsep.join(folders)}


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    return done


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run(page: str) -> None:
    """A block in a language that no test here runs would be one that no test checks."""
    found = blocks(page)
    assert found
    # "py": test/clients runs it, where SevenNet is.
    assert {block.language for block in found} <= {"python", "bash"} | ({"py"} if page == "README.md" else set())
    fences = re.findall(r"^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(found)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks(page: str, tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    # Empty lines in place of what is between the blocks: a traceback names the page's lines.
    text = ""
    for block in blocks(page):
        if block.language == "python":
            text += "\n" * (block.line - text.count("\n")) + block.text
    program.write_text(text, encoding="utf-8")
    assert run([sys.executable, str(program)], tmp_path).returncode == 0


@pytest.mark.parametrize("line", shell_lines())
def test_shell_line(line: str, tmp_path: Path) -> None:
    command = affordable(line, tmp_path)
    if command.startswith("apt-get") and os.geteuid() != 0:
        pytest.skip("apt-get takes root rights")
    assert run(["bash", "-euo", "pipefail", "-c", command], ROOT).returncode == 0


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    """What a page links to, pictures included, is there."""
    links = _LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()]
    assert not missing


def test_the_oldest_torch_is_the_same_everywhere() -> None:
    """What a package manager is told, what the page says, and what an older one is told when the operators do not load."""
    told = set(re.findall(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    (page,) = re.findall(r"torch ([\d.]+) and later \(tested: ([\d.]+),", (ROOT / "README.md").read_text(encoding="utf-8"))
    error = re.findall(r"expected ([\d.]+) or later", (ROOT / "python/espmm/_torchlib.py").read_text(encoding="utf-8"))
    assert {*told, *page, *error} == told and len(told) == len(error) == 1


def test_gpu_script_says_what_is_missing(tmp_path: Path) -> None:
    """Without a wheel it stops before it installs anything, and says how to get one."""
    done = run(["bash", str(ROOT / "scripts" / "gpu_test.sh"), "--wheels", str(tmp_path)], tmp_path)
    assert done.returncode == 1
    assert f"no espmm-*.whl in {tmp_path}" in done.stdout


def test_gpu_script_refuses_unknown_arguments(tmp_path: Path) -> None:
    done = run(["bash", str(ROOT / "scripts" / "gpu_test.sh"), "--fast"], tmp_path)
    assert done.returncode == 1
    assert "unknown argument --fast" in done.stdout
