"""Runs the commands of docs/Walkthrough.md and writes what they print into the page.

The ``bash`` and ``python`` blocks of the page are run from top to bottom, in one shell and one empty folder, with the tools of
the build folder on the path. A block that is followed by a comment ``<!-- shows ... -->`` and another fenced block has its
output there. The comment says which lines of it are shown, a rule a line:

    from: REGEX      the first line, of those after the last range, that matches begins a range that is shown
    to: REGEX        and the first after it that matches ends it; without this rule a range is one line
    without: REGEX   lines in the ranges that are not shown
    cut: REGEX       what matches within a line (the first group, if there is one) is not shown

Without a range all lines are shown. Whatever is left out, lines or parts of a line, is marked by ``...``. A rule that
matches nothing is an error: what it was for has changed. ``<!-- needs ptxas 13.0 -->`` before a block says that it is run
only where that release of ptxas is; its output then stays as it is elsewhere.

Usage: update_walkthrough.py [--check]; with --check the page is not written, and the exit status is 1 if it has drifted.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "Walkthrough.md"
BUILD_DIR = Path(os.environ.get("BUILD_DIR", ROOT / "build"))

_STEP = re.compile(
    r"(?:^<!-- needs (?P<needs>[^\n]*?) -->\n)?"
    r"^```(?P<language>bash|python)\n(?P<text>.*?)^```\n"
    r"(?:\n?^<!-- shows(?P<rules>.*?)-->\n^```\w+\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_MARK = "@@ walkthrough step {} @@"


class WalkthroughError(Exception):
    """A block of the page that fails, or a rule that does not fit the output; names the line of the page."""


@dataclass(frozen=True)
class Step:
    """A block that is run, and the excerpt of its output that the page shows, if it does.

    Attributes:
        line: of the page, where the block begins.
        language: ``bash`` or ``python``.
        needs: what the block needs besides the build, such as ``ptxas 13.0``; None for nothing.
        rules: pairs of a rule's name and its pattern; None if the output is not shown.
        shown: the page's excerpt.
        place: the excerpt's begin and end in the page's text.
    """

    line: int
    language: str
    text: str
    needs: Optional[str]
    rules: Optional[tuple[tuple[str, str], ...]]
    shown: str
    place: tuple[int, int]


def steps(page: str) -> list[Step]:
    """The steps of a page's text.

    Raises:
        WalkthroughError: a rule of an unknown name.
    """
    return [
        Step(
            page.count("\n", 0, match.start("text")),
            match["language"],
            match["text"],
            match["needs"],
            None if match["rules"] is None else _rules(match["rules"], page.count("\n", 0, match.start("rules")) + 1),
            match["output"] or "",
            match.span("output"),
        )
        for match in _STEP.finditer(page)
    ]


def _rules(text: str, line: int) -> tuple[tuple[str, str], ...]:
    rules = []
    for number, rule in enumerate(text.splitlines()):
        if not rule.strip():
            continue
        name, colon, pattern = rule.partition(": ")
        if not colon or name not in ("from", "to", "without", "cut"):
            raise WalkthroughError(f"line {line + number}: expected from, to, without or cut and a pattern, got {rule!r}")
        rules.append((name, pattern))
    return tuple(rules)


def excerpt(output: str, rules: tuple[tuple[str, str], ...]) -> str:
    """The lines of an output that rules choose, each gap marked by a line ``...``.

    Raises:
        WalkthroughError: a rule matches nothing.
    """
    lines = output.strip("\n").splitlines()
    keep = _ranges(lines, rules) if any(name == "from" for name, _ in rules) else [True] * len(lines)
    for name, pattern in rules:
        if name == "without":
            dropped = [i for i, line in enumerate(lines) if keep[i] and re.search(pattern, line)]
            _demand(dropped, name, pattern)
            for i in dropped:
                keep[i] = False
        elif name == "cut":
            cut = [re.sub(pattern, _shorten, line) for line in lines]
            _demand([i for i in range(len(lines)) if keep[i] and cut[i] != lines[i]], name, pattern)
            lines = cut
    shown: list[str] = []
    gap = False
    for i, line in enumerate(lines):
        if not keep[i]:
            # What is closed where nothing more is shown needs no mark.
            gap = gap or line.strip() not in ("", "}")
            continue
        if gap:
            shown.append(_indent(line) + "...")
            gap = False
        shown.append(line)
    if gap:
        shown.append((_indent(shown[-1]) if shown else "") + "...")
    return "".join(line.rstrip() + "\n" for line in shown)


def _ranges(lines: list[str], rules: tuple[tuple[str, str], ...]) -> list[bool]:
    """Whether each line is in a range."""
    keep = [False] * len(lines)
    last = -1
    for name, pattern in rules:
        if name not in ("from", "to"):
            continue
        if name == "to" and last < 0:
            raise WalkthroughError(f"expected a 'from' before the rule 'to: {pattern}'")
        found = next((i for i in range(last + 1, len(lines)) if re.search(pattern, lines[i])), None)
        _demand([] if found is None else [found], name, pattern)
        for i in range(found if name == "from" else last, found + 1):
            keep[i] = True
        last = found
    return keep


def _demand(found: list[int], name: str, pattern: str) -> None:
    if not found:
        raise WalkthroughError(f"no line matches the rule '{name}: {pattern}'")


def _shorten(match: re.Match[str]) -> str:
    begin, end = match.span(1 if match.re.groups else 0)
    return match.string[match.start() : begin] + "..." + match.string[end : match.end()]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _head(text: str, count: int = 40) -> str:
    lines = text.splitlines(True)
    return "".join(lines[:count]) + (f"... ({len(lines)} lines)\n" if len(lines) > count else "")


def is_met(needs: Optional[str]) -> bool:
    """Whether this machine has what a step needs."""
    if needs is None:
        return True
    tool, release = needs.split()
    if shutil.which(tool, path=_environment()["PATH"]) is None:
        return False
    done = subprocess.run([tool, "--version"], env=_environment(), capture_output=True, text=True)
    return re.search(rf"release {re.escape(release)}\b", done.stdout) is not None


def _environment() -> dict[str, str]:
    """As scripts/common.sh sets it for the checkout, with tools and library of one build and no cache."""
    folders = [str(BUILD_DIR / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return os.environ | {
        "PATH": os.pathsep.join(folders),
        "PYTHONPATH": str(ROOT / "python"),
        "ESPMM_LIBRARY": str(BUILD_DIR / "lib" / "libespmm.so"),
        "ESPMM_CACHE": "0",
    }


def run(todo: list[Step]) -> list[str]:
    """What each step prints, standard error included; "" for steps whose needs are not met.

    Raises:
        WalkthroughError: a step fails.
    """
    script = []
    for number, step in enumerate(todo):
        script.append(f"echo '{_MARK.format(number)}'")
        if is_met(step.needs):
            script.append(step.text if step.language == "bash" else f"python - <<'END'\n{step.text}END")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "exec 2>&1\n" + "\n".join(script)],
            cwd=folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
    outputs = re.split(_MARK.format(r"\d+") + "\n", done.stdout)[1:]
    if done.returncode != 0:
        line = todo[len(outputs) - 1].line
        raise WalkthroughError(f"line {line}: the block fails with exit status {done.returncode}:\n{_head(outputs[-1])}")
    return outputs


def fresh(page: str) -> list[tuple[Step, str]]:
    """The steps of a page that show something and can be run here, each with what it has to show.

    Raises:
        WalkthroughError: a step fails, or a rule does not fit.
    """
    todo = steps(page)
    shown = []
    for step, output in zip(todo, run(todo)):
        if step.rules is None or not is_met(step.needs):
            continue
        try:
            shown.append((step, excerpt(output, step.rules)))
        except WalkthroughError as error:
            raise WalkthroughError(f"line {step.line}: {error} in the output:\n{_head(output)}") from None
    return shown


def updated(page: str) -> str:
    """The page's text with every excerpt as it has to be."""
    for step, text in reversed(fresh(page)):
        page = page[: step.place[0]] + text + page[step.place[1] :]
    return page


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(f"expected no arguments or --check, got {' '.join(arguments)}", file=sys.stderr)
        return 2
    page = PAGE.read_text(encoding="utf-8")
    try:
        new = updated(page)
    except WalkthroughError as error:
        print(f"{PAGE.relative_to(ROOT)}: {error}", file=sys.stderr)
        return 1
    sys.stdout.writelines(difflib.unified_diff(page.splitlines(True), new.splitlines(True), str(PAGE), "what is printed now"))
    if arguments:
        return int(page != new)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
