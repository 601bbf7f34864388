"""Files that appear whole or not at all: written beside their place, synced, and moved there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from attacks.errors import BadInput, plain, shown

PARTIAL = ".partial"  # ends the name of a file that is being written
DEVICES = Path("/dev")


def path_of(text: str) -> Path:
    """A path on this machine, as a person or a configuration writes it: `~` is a home folder, and
    links are followed.

    Raises:
        BadInput: the text is not a path: it holds a NUL, is too long, names the home of an unknown
            user, or its links form a circle.
    """
    try:
        path = Path(text).expanduser().resolve()
        path.exists()  # one that is too long for this machine is found out now
        return path
    except (RuntimeError, ValueError, OSError) as error:
        raise BadInput(f"{shown(text)} is not a path ({error}): name another") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file on this machine so that a reader never sees half of it, even after a power cut.
    Links are followed.

    A device or a pipe, such as /dev/stdout, is written to as it is.

    Raises:
        OSError: it cannot be written; the earlier file stays.
    """
    if path.exists() and (not path.is_file() or path.is_relative_to(DEVICES)):
        path.write_bytes(content)
        return
    place = path_of(str(path))
    partial = place.with_name(f"{place.name}{PARTIAL}")
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(place)
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk needs the room
        raise


def write_to(files: fsspec.AbstractFileSystem, path: str, content: bytes) -> None:
    """The same on any file system. Whether a file appears whole depends on that file system.

    Raises:
        OSError: it cannot be written.
    """
    if isinstance(files, LocalFileSystem):
        write_whole(Path(path), content)
    else:
        files.pipe_file(f"{path}{PARTIAL}", content)
        files.mv(f"{path}{PARTIAL}", path)


def write_url(url: str, content: bytes) -> None:
    """The same at a path or URL.

    Raises:
        OSError: it cannot be written, or its kind is unknown.
    """
    with _only_os_errors():
        files, path = fsspec.core.url_to_fs(url)
        write_to(files, path, content)


def read_url(url: str, most: int = -1) -> bytes:
    """The contents of a path or URL, or its first `most` bytes.

    Raises:
        OSError: it cannot be read, or its kind is unknown.
    """
    with _only_os_errors(), fsspec.open(url, "rb") as file:
        content: bytes = file.read(most)
        return content


@contextmanager
def _only_os_errors() -> Iterator[None]:
    """Turn the errors of any file system into OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(plain(str(error)) or type(error).__name__) from error


def refuse_ways_out(folder: Path, what: str) -> None:
    """Refuse a folder with links out of itself, or with pipes or devices; `what` begins the
    sentence.

    Raises:
        BadInput: it has some, or cannot be read.
    """
    try:
        way = next(_ways_out(folder), None)
    except OSError as error:
        raise BadInput(f"{what} cannot be read: {error.strerror or error}") from None
    if way is not None:
        raise BadInput(f"{what}: {way.relative_to(folder)} is a link or a pipe, not a file: remove it")


def _ways_out(root: Path) -> Iterator[Path]:
    """Entries below a folder that are neither files nor folders of its own: links to the outside,
    pipes, devices.
    """
    left = [root]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                place = Path(entry.path)
                if entry.is_symlink():
                    if not _ends_in(place, root):
                        yield place
                elif entry.is_dir():
                    left.append(place)
                elif not entry.is_file():
                    yield place


def _ends_in(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link to itself
        return False
