"""docs/Walkthrough.md shows what the compiler prints; the links of the documentation lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_spec = importlib.util.spec_from_file_location("update_walkthrough", ROOT / "scripts" / "update_walkthrough.py")
walkthrough = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = walkthrough  # where its dataclass looks for its module
_spec.loader.exec_module(walkthrough)

PAGE = walkthrough.PAGE.read_text(encoding="utf-8")
STEPS = walkthrough.steps(PAGE)
TOOLS = ["espmm-opt", "espmm-translate"]


@pytest.fixture(scope="module")
def fresh(library) -> dict[int, str]:
    """What each step has to show, by its line in the page."""
    missing = [tool for tool in TOOLS if not (walkthrough.BUILD_DIR / "bin" / tool).is_file()]
    if missing:
        pytest.skip(f"not built: {', '.join(missing)}")
    return {step.line: text for step, text in walkthrough.fresh(PAGE)}


@pytest.mark.parametrize("step", [pytest.param(s, id=f"line {s.line}") for s in STEPS if s.rules is not None])
def test_page_shows_what_is_printed(step, fresh):
    if not walkthrough.is_met(step.needs):
        pytest.skip(f"needs {step.needs}")
    assert step.shown == fresh[step.line], "the page has drifted: run scripts/update_walkthrough.py and read the text around it"


def test_no_block_goes_unchecked():
    """Every fenced block is run, or is the output of one that is."""
    fences = re.findall(r"^```", PAGE, re.MULTILINE)
    assert len(fences) == 2 * (len(STEPS) + sum(step.rules is not None for step in STEPS))
    assert PAGE.count("<!-- shows") == sum(step.rules is not None for step in STEPS)


def page(block: str, rules: str, shown: str, before: str = "") -> str:
    return f"Text.\n\n{before}```bash\n{block}\n```\n\n<!-- shows\n{rules}-->\n```text\n{shown}```\n\nMore text.\n"


def test_drift_is_found_and_mended():
    old = page("seq 3", "", "1\n2\n4\n")
    assert walkthrough.updated(old) == page("seq 3", "", "1\n2\n3\n")
    assert walkthrough.updated(page("seq 3", "", "1\n2\n3\n")) == page("seq 3", "", "1\n2\n3\n")


def test_steps_share_a_shell_and_what_is_not_shown_is_left_alone():
    first = "```bash\ntwice() { echo $1 $1; }\necho hidden\n```\n\n"
    assert walkthrough.updated(first + page("twice a", "", "")) == first + page("twice a", "", "a a\n")
    assert walkthrough.updated(page("exit 1", "", "kept\n", "<!-- needs no-such-tool 1 -->\n")).count("kept") == 1


@pytest.mark.parametrize(
    "rules, expected",
    [
        ([], "a {\n  b = 1\n  c = 2\n  d = 3\n}\n"),
        ([("from", "b"), ("to", "c")], "  ...\n  b = 1\n  c = 2\n  ...\n"),
        ([("from", "a"), ("from", "d")], "a {\n  ...\n  d = 3\n"),
        ([("without", "c")], "a {\n  b = 1\n  ...\n  d = 3\n}\n"),
        ([("cut", r"= (\d)")], "a {\n  b = ...\n  c = ...\n  d = ...\n}\n"),
        ([("from", "b"), ("cut", " = 1")], "  ...\n  b...\n  ...\n"),
    ],
)
def test_excerpts(rules, expected):
    assert walkthrough.excerpt("a {\n  b = 1\n  c = 2\n  d = 3\n}\n", tuple(rules)) == expected


@pytest.mark.parametrize(
    "text, message",
    [
        (page("seq 3", "from: 4\n", ""), r"line 3: no line matches the rule 'from: 4' in the output:\n1\n2\n3"),
        (page("seq 3", "from: 3\nto: 1\n", ""), "no line matches the rule 'to: 1'"),
        (page("seq 3", "to: 1\n", "").replace("to: 1", "from: 2\nwithout: 1"), "no line matches the rule 'without: 1'"),
        (page("seq 3", "cut: 4\n", ""), "no line matches the rule 'cut: 4'"),
        (page("seq 3", "from: 1\nand: 2\n", ""), "line 9: expected from, to, without or cut and a pattern, got 'and: 2'"),
        (page("echo oh; false", "", ""), "line 3: the block fails with exit status 1:\noh"),
    ],
)
def test_errors_name_the_place(text, message):
    with pytest.raises(walkthrough.WalkthroughError, match=message):
        walkthrough.updated(text)


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_links(path):
    """Files that a page links to exist; so do the headings."""
    text = re.sub(r"^```.*?^```$|`[^`\n]*`(?!\])", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        file, _, heading = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{path.name} links to {link}"
        if heading and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings], link
