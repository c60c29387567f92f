"""What an exception says of the program whose launch failed: its kernels, and the command that repeats its compile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Mapping, Optional, TypeVar

from .program import Program

E = TypeVar("E", bound=BaseException)


def explained(error: E, program: Program, target: str, manifest: Optional[Mapping] = None) -> E:
    """An exception of the same class that tells more.

    Args:
        error: of a class that takes its message as its one argument.
        manifest: the compiled program's; None if it did not come to that.
    """
    kernels = [step["kernel"] for step in (manifest or {}).get("steps", ()) if step["op"] == "launch"]
    what = f"{program!r}" + (f", kernels {', '.join(kernels)}" if kernels else "")
    code = "assembly" if target == "cpu" else "ptx"
    source = _keep_source(program)
    command = program.repro(target, code, source or "source.mlir")
    where = "" if source else "\nwhere source.mlir holds the program's text (``ir('source')``)"
    return type(error)(f"{error}\nin {what}\nits compile is repeated by: {command}{where}")


def _keep_source(program: Program) -> Optional[str]:
    """A file with the program's text, named after it; None if it can't be written."""
    import hashlib  # it and tempfile take longer to import than a cached program to load
    import tempfile

    path = Path(tempfile.gettempdir()) / f"espmm-{hashlib.blake2b(program.text.encode(), digest_size=8).hexdigest()}.mlir"
    try:
        if path.is_symlink() or not path.is_file() or path.read_text() != program.text:
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(program.text)
    except OSError:
        return None
    return str(path)
