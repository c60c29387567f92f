"""Schedules that were found by measuring (:func:`espmm.tune`), kept beside compiled code and used where none is given.

An entry is a JSON file named after its key: the program's string, the chip and espmm's version. The library reads it too, for the
operators of :mod:`espmm.operators`. Files are written whole and renamed into place, so that a reader never sees half of one and the last of several
writers wins. As with compiled code, the folder and the files have to be the user's own, and nobody else's to write to.
``ESPMM_TUNED=0`` has them ignored; with ``ESPMM_CACHE=0`` they last as long as the process.
"""

from __future__ import annotations

import json
import os
import stat
import warnings
from pathlib import Path
from typing import Any, Mapping, Optional

from .program import Program, check_schedule

_FORMAT = 1

#: Entries that this process has read or written, by key and folder: None where there is none.
_known: dict[tuple[str, Optional[Path]], Optional[dict]] = {}


def folder() -> Optional[Path]:
    """Where compiled code is kept, as the library chooses it (``lib/Runtime/DiskCache.cpp``); None if nowhere."""
    if os.environ.get("ESPMM_CACHE") == "0":
        return None
    if os.environ.get("ESPMM_CACHE_DIR"):
        return Path(os.environ["ESPMM_CACHE_DIR"])
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
        if not base.is_absolute():
            return None
    return base / "espmm"


def key(program: Program, target: str) -> str:
    """What a schedule is kept under, as the library finds it (``lib/Runtime/ProgramText.cpp``). It does not depend on the program's own schedule."""
    import hashlib  # it and tempfile take longer to import than a cached program to load

    from . import __version__

    text = f"{_FORMAT}\n{__version__}\n{target}\n{program.with_schedule({}).serialize()}"
    return hashlib.sha256(text.encode()).hexdigest()


def path(program: Program, target: str) -> Optional[Path]:
    """The file of an entry, whether it is there or not."""
    place = folder()
    return None if place is None else place / f"{key(program, target)}.schedule.json"


def scheduled(program: Program, target: str) -> Program:
    """The program with the schedule that was found for it on this target; itself if it has one, or none was found."""
    if program.schedule or not target.startswith("cuda:") or os.environ.get("ESPMM_TUNED") == "0":
        return program
    entry = find(program, target)
    return program if entry is None else program.with_schedule(entry["schedule"])


def find(program: Program, target: str) -> Optional[dict]:
    """The entry of a program: ``schedule`` and what else was noted with it; None if there is none.

    An entry that can't be read is ignored with a warning.
    """
    place, name = folder(), key(program, target)
    if (name, place) not in _known:
        _known[name, place] = None if place is None else _read(place / f"{name}.schedule.json")
    return _known[name, place]


def store(program: Program, target: str, schedule: Mapping[str, int], notes: Mapping[str, Any]) -> Optional[Path]:
    """Keeps a schedule, in place of any before; gives its file, or None where there is no folder to write to.

    Args:
        notes: what a reader of the file may want to know, such as the times that were measured.
    """
    entry = {"format": _FORMAT, "schedule": check_schedule(schedule), "target": target, "program": repr(program), **notes}
    place, name = folder(), key(program, target)
    _known[name, place] = entry
    if place is None:
        return None
    import tempfile

    file = place / f"{name}.schedule.json"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (problem := _distrust(place.stat())) is not None:
            raise OSError(f"it {problem}")
        descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=place)
        try:
            with os.fdopen(descriptor, "w") as stream:
                json.dump(entry, stream, indent=1)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        warnings.warn(f"the schedule can't be kept in {place} ({error}); it lasts as long as this process", stacklevel=2)
        return None
    return file


def files() -> list[Path]:
    """The files of all entries."""
    place = folder()
    return [] if place is None else sorted(place.glob("*.schedule.json"))


def count() -> int:
    """How many entries lie in the folder."""
    return len(files())


def _distrust(status: os.stat_result) -> Optional[str]:
    """What speaks against using a file or folder, as with compiled code; None if nothing does."""
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written to by others"
    return None


def read(file: Path) -> dict:
    """The entry in a file.

    Raises:
        FileNotFoundError: there is none. ValueError: it can't be trusted or read; says why ("is damaged: ...").
    """
    try:
        status = file.lstat()
        problem = "is a link" if stat.S_ISLNK(status.st_mode) else _distrust(status)
        if problem is not None:
            raise ValueError(problem)
        text = file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"can't be read: {error}") from None
    try:
        entry = json.loads(text)
        if entry["format"] != _FORMAT:
            raise ValueError(f"format {entry['format']}")
        entry["schedule"] = check_schedule(entry["schedule"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"is damaged: {error}") from None
    return entry


def _read(file: Path) -> Optional[dict]:
    try:
        # The library warns of a folder that it can't trust.
        return None if _distrust(file.parent.stat()) else read(file)
    except OSError:
        return None
    except ValueError as error:
        warnings.warn(f"the schedule {file} {error}; it is ignored", stacklevel=4)
        return None
