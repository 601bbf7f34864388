"""The files that code opens while it runs, such as a table that a model reads as it answers.

Python announces every file that it opens (https://docs.python.org/3/library/audit_events.html).
Files that a library opens by itself, without Python, are not seen.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.references.sources import INSTALLED
from harness.references.userfile import is_our_own

MOST = 2**28  # bytes of a file that its hash covers; the size covers the rest
CODE = (".py", ".pyc", ".so")  # is identified elsewhere
SYSTEM = ("/proc/", "/sys/", "/dev/")
_WATCHING: list[set[str]] = []
_HOOKED: list[bool] = []


@contextmanager
def opening() -> Iterator[set[str]]:
    """Collects the paths of the files that are opened for reading inside the block."""
    if not _HOOKED:
        sys.addaudithook(_heard)  # which cannot be taken away again
        _HOOKED.append(True)
    found: set[str] = set()
    _WATCHING.append(found)
    try:
        yield found
    finally:
        _WATCHING[:] = [each for each in _WATCHING if each is not found]


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not _WATCHING:
        return
    path, _, flags = arguments
    written = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
    if isinstance(path, str | bytes | os.PathLike) and not written:
        for each in _WATCHING:
            each.add(str(Path(os.fsdecode(path)).absolute()))


def contents(paths: set[str]) -> dict[str, str]:
    """SHA-256 of the content of each file by its name, but not of installed files, of code and of
    files of the system.
    """
    found: dict[str, str] = {}
    for path in sorted(paths):
        named = Path(path)
        theirs = not set(named.parts) & set(INSTALLED) and not path.startswith((sys.base_prefix, *SYSTEM))
        if theirs and not is_our_own(named) and named.suffix not in CODE and named.is_file():
            with named.open("rb") as file:
                digest = hashlib.sha256(f"{named.stat().st_size} ".encode() + file.read(MOST))
            found[f"{len(found)} {named.name}"] = digest.hexdigest()
    return found
