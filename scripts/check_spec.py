"""Checks that every labelled constraint of the dialect is specified, verified and tested.

A label such as ``contract_c2`` is defined in a .td file, ``(contract_c2) what is demanded``. It has to occur in a row of a
table of docs/Spec.md, once; in a source file under lib/, at the check; and in a test file under test/, in a comment
directly above a case that expects an error. No other label may occur in the specification.

Usage: check_spec.py [REPOSITORY]; exit status 1 and a line for each gap if there is one.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

LABEL = r"\b[a-z][a-z_]*_c\d+\b"


def read(paths: list[Path]) -> str:
    return "\n".join(path.read_text() for path in paths)


def labels_of_tests(paths: list[Path]) -> set[str]:
    """Labels named in a comment of a case (a part of a file between ``// -----``) that expects an error."""
    found: set[str] = set()
    for path in paths:
        for case in path.read_text().split("// -----"):
            if "expected-error" in case:
                found.update(label for line in re.findall(r"^\s*//(.*)$", case, re.M) for label in re.findall(LABEL, line))
    return found


def gaps(root: Path) -> list[str]:
    """What is missing, a line each."""
    defined = Counter(re.findall(rf"- \(({LABEL})\)", read(sorted(root.glob("include/espmm/**/*.td")))))
    specified = Counter(re.findall(rf"^\| ({LABEL}) \|", (root / "docs/Spec.md").read_text(), re.M))
    verified = set(re.findall(LABEL, read(sorted(root.glob("lib/**/*.cpp")))))
    tested = labels_of_tests(sorted(root.glob("test/**/*.mlir")))
    lines = [f"{label}: defined {n} times, expected once" for label, n in defined.items() if n != 1]
    lines += [f"{label}: in docs/Spec.md {specified[label]} times, expected once" for label in defined if specified[label] != 1]
    lines += [f"{label}: in docs/Spec.md, but defined in no .td file" for label in specified if label not in defined]
    lines += [f"{label}: no source file under lib/ names it" for label in defined if label not in verified]
    lines += [f"{label}: no test under test/ expects its error" for label in defined if label not in tested]
    return lines if defined else ["no label found in any .td file"]


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    found = gaps(root)
    print("\n".join(found) if found else "every labelled constraint is specified, verified and tested")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
