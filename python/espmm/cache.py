"""``python -m espmm cache``: the disk cache, listed, checked and cleared.

The library looks after compiled code (``lib/Runtime/DiskCache.cpp``), :mod:`espmm.schedules` after the schedules beside it;
``docs/DiskCache.md`` says what is kept and who may touch it.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import NamedTuple, Optional, Sequence

from . import _capi, schedules


class Entry(NamedTuple):
    """A file of the cache.

    Attributes:
        name: of the file.
        kind: ``"program"``, ``"cubin"`` or ``"schedule"``; None where there is a problem.
        bytes: its size.
        used: seconds since 1970, to the minute: when it was last read or written.
        what: what it is of, for people.
        problem: why it would not be used; None if it would.
    """

    name: str
    kind: Optional[str]
    bytes: int
    used: int
    what: str
    problem: Optional[str]


class Listing(NamedTuple):
    """The cache's folder (None if it is switched off, or there is no place for it), its bound, and what lies there."""

    folder: Optional[str]
    limit_bytes: int
    entries: list[Entry]


def listing() -> Listing:
    """Every entry, read and checked as it is before use, what was used last first.

    Raises:
        ValueError: the folder is not this user's alone.
    """
    found = _capi.cache_list()
    entries = []
    for entry in found["entries"]:
        kernels = ", ".join(entry.get("kernels", ()))
        what = "  ".join(filter(None, (entry.get("target"), kernels, entry.get("product"))))
        entries.append(Entry(entry["name"], entry.get("kind"), entry["bytes"], entry["used"], what, entry.get("problem")))
    for file in schedules.files():
        kind, what, problem = "schedule", "", None
        try:
            status = file.lstat()
            kept = schedules.read(file)
            what = "  ".join(filter(None, (kept.get("target"), json.dumps(kept["schedule"]), kept.get("program"))))
        except FileNotFoundError:  # gone meanwhile
            continue
        except ValueError as error:
            kind, problem = None, str(error)
        entries.append(Entry(file.name, kind, status.st_size, int(status.st_mtime), what, problem))
    entries.sort(key=lambda entry: (-entry.used, entry.name))
    return Listing(found["folder"], found["limit_bytes"], entries)


def clear(keep_schedules: bool = False) -> int:
    """Removes all entries, and what killed processes left; gives how many files. Processes that run keep what they have loaded.

    Raises:
        ValueError: the folder is not this user's alone.
    """
    removed = _capi.cache_clear()
    if not keep_schedules:
        for file in schedules.files():
            file.unlink(missing_ok=True)
            removed += 1
    return removed


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Runs ``python -m espmm cache``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m espmm cache", description="The disk cache of compiled code and schedules.")
    actions = parser.add_subparsers(dest="action", metavar="list | verify | clear")
    parser.set_defaults(action="list", json=False)
    add = actions.add_parser("list", help="what is kept, what was used last first (the default)")
    add.add_argument("--json", action="store_true", help="as JSON")
    actions.add_parser("verify", help="check every entry; the exit status is 1 if one would not be used")
    add = actions.add_parser("clear", help="remove everything")
    add.add_argument("--keep-schedules", action="store_true", help="but not the schedules that espmm.tune has found")
    return _run(parser.parse_args(argv))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.action == "clear":
        print(f"{clear(arguments.keep_schedules)} files removed")
        return 0
    found = listing()
    bad = [entry for entry in found.entries if entry.problem is not None]
    if arguments.action == "verify":
        for entry in bad:
            print(f"{entry.name} {entry.problem}")
        print(f"{len(found.entries)} entries, {len(bad)} of them would not be used")
        return 1 if bad else 0
    if arguments.json:
        print(json.dumps({**found._asdict(), "entries": [entry._asdict() for entry in found.entries]}, indent=2))
        return 0
    print(f"{found.folder or 'off'}: {len(found.entries)} entries, {_size(sum(entry.bytes for entry in found.entries))}"
          f" (compiled code is kept up to {_size(found.limit_bytes)})")  # fmt: skip
    for entry in found.entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        what = entry.what if entry.problem is None else f"not used: it {entry.problem}"
        what = what if len(what) <= 120 else what[:117] + "..."
        print(f"{entry.name[:12]}  {used}  {_size(entry.bytes):>10}  {entry.kind or '-':8}  {what}")
    return 0


def _size(count: int) -> str:
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{count} bytes" if units[0] == "bytes" else f"{size:.1f} {units[0]}"
