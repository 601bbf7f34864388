"""A folder of files, at a path or any fsspec URL; every file in it appears whole or not at all."""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from attacks.errors import BadInput, plain
from harness.storage.files import PARTIAL, path_of, refuse_ways_out, write_to

LOCK = "lock"  # held by the process that writes here


class Storage:
    """The files under one path or URL.

    Raises:
        BadInput: no file system answers there.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock: BinaryIO | None = None
        try:
            self.files, self.root = fsspec.core.url_to_fs(url if "://" in url else str(path_of(url)))
        except Exception as error:  # each file system raises its own
            raise BadInput(
                f"run directory {url!r} cannot be reached: {plain(str(error)) or type(error).__name__}"
            ) from None

    def claim(self) -> None:
        """Lock the folder against other processes, on a local disk only: other file systems have no
        lock that opens when a process ends.

        Raises:
            BadInput: another process writes here.
        """
        if not self._local:
            return
        with self._writing():
            self.files.makedirs(self.root, exist_ok=True)
            self._lock = Path(self.root, LOCK).open("ab")  # noqa: SIM115 - held until the run ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise BadInput(
                f"run {self.url} is being written by another process: wait until it ends, or name another --out"
            ) from None

    def release(self) -> None:
        """Let other processes write here again; the end of the process does the same."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def names(self, folder: str, suffix: str) -> list[str]:
        """The files of a folder whose names end so, sorted."""
        path = f"{self.root}/{folder}".rstrip("/")
        if not self.files.exists(path):
            return []
        self.files.invalidate_cache(path)
        found = (each.rsplit("/", 1)[-1] for each in self.files.ls(path, detail=False))
        return sorted(name for name in found if name.endswith(suffix))

    def folders(self, start: str) -> list[str]:
        """The folders whose names begin so, sorted; empty where they cannot be read."""
        try:
            found = self.files.ls(self.root, detail=True)
        except OSError:
            return []
        names = (each["name"].rstrip("/").rsplit("/", 1)[-1] for each in found if each["type"] == "directory")
        return sorted(name for name in names if name.startswith(start))

    def holds_something(self, left: Collection[str]) -> bool:
        """Whether the folder holds more than these files, the lock, and half-written files of a
        killed run.
        """
        if not self.files.exists(self.root):
            return False
        own = (PARTIAL, *(f"/{name}" for name in (LOCK, *left)))
        return any(not path.endswith(own) for path in self.files.ls(self.root, detail=False))

    def exists(self, name: str) -> bool:
        return bool(self.files.exists(f"{self.root}/{name}"))

    def read(self, name: str) -> bytes:
        content: bytes = self.files.cat_file(f"{self.root}/{name}")
        return content

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.exists(name):
            with self._writing():
                self.files.rm(f"{self.root}/{name}")

    def write(self, name: str, content: bytes) -> None:
        """Write so that a reader never sees half a file; on a local disk also after a power cut."""
        path = f"{self.root}/{name}"
        with self._writing():
            self.files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            write_to(self.files, path, content)

    def refuse_ways_out(self) -> None:
        """Refuse links to files outside the folder, which a run from elsewhere may hold. Only local
        file systems have links.
        """
        if self._local and self.files.isdir(self.root):
            refuse_ways_out(Path(self.root).resolve(), f"run {self.url}")

    @property
    def _local(self) -> bool:
        return isinstance(self.files, LocalFileSystem)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The mend for a disk that is full or read-only."""
        try:
            yield
        except OSError as error:
            mend = "mend that and run the same command: it goes on where it stopped"
            raise BadInput(f"--out {self.url} cannot be written: {error.strerror or error}; {mend}") from None
