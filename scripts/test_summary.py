"""Adds up JUnit reports: a line for each, the names of what failed, and the total as the last line.

Usage: test_summary.py REPORT.xml ...; exit status 1 if a test failed, or a report is missing or holds no test.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Counts:
    """Results of one report; `failed` names the failures and errors, `problem` says why there is no result."""

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    problem: str | None = None


def read_report(path: Path) -> Counts:
    """Counts the test cases of a JUnit report as ctest, lit and pytest write them."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except FileNotFoundError:
        return Counts(problem="the runner ended without a report")
    except ElementTree.ParseError as error:
        return Counts(problem=f"the report is no XML: {error}")
    if not cases:
        return Counts(problem="the runner found no test")
    counts = Counts()
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed.append(f"{case.get('classname', '')} {case.get('name', '')}".strip())
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            counts.skipped += 1
        else:
            counts.passed += 1
    return counts


def main(arguments: list[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    total = Counts()
    problems = 0
    print("==> Summary")
    for argument in arguments:
        path = Path(argument)
        counts = read_report(path)
        if counts.problem:
            problems += 1
            print(f"    {path.stem:8} {counts.problem}")
            continue
        print(f"    {path.stem:8} {counts.passed} passed, {len(counts.failed)} failed, {counts.skipped} skipped")
        for name in counts.failed:
            print(f"             failed: {name}")
        total.passed += counts.passed
        total.skipped += counts.skipped
        total.failed += counts.failed
    # A runner that gave no result is a failure too, or the last line would claim success.
    failed = len(total.failed) + problems
    print(f"{total.passed} passed, {failed} failed, {total.skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
