"""Standard output whose errors do not stop the work. Its reader may end, its disk may be full, and
its encoding may lack letters.

A command does its work even if it cannot print. Otherwise a model that prints would fail when the
reader of the output ends.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

STREAMS = {1: "stdout", 2: "stderr"}  # by their file descriptors


class _Patient(io.RawIOBase):
    """A file descriptor to write to. After the first error all output is dropped, with one note on
    standard error.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, content: object) -> int:
        data = memoryview(content).cast("B")  # type: ignore[arg-type]
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            to_nowhere(self._descriptor)
            if self._descriptor == 1 and error.errno != errno.EPIPE:
                print(
                    f"standard output cannot be written ({error.strerror}): the work goes on without it",
                    file=sys.stderr,
                )
            return len(data)


def to_nowhere(descriptor: int) -> None:
    """Open a file descriptor that drops all output."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == descriptor:
        os.set_inheritable(descriptor, True)  # inheritable, like standard streams and copies of dup2
        return
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def patient(descriptor: int, encoding: str) -> TextIO:
    """A text stream that never fails: letters that its encoding lacks become question marks."""
    raw = io.BufferedWriter(_Patient(descriptor))
    return io.TextIOWrapper(raw, encoding=encoding, errors="replace", line_buffering=True)


def make_patient() -> None:
    """Make standard output and error of this process patient from now on, except streams that a
    test has put in their place.
    """
    for descriptor, name in STREAMS.items():
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, patient(descriptor, getattr(stream, "encoding", None) or "utf-8"))


@contextmanager
def patient_streams() -> Iterator[None]:
    """The same for as long as the block lasts."""
    before = {name: getattr(sys, name) for name in STREAMS.values()}
    make_patient()
    try:
        yield
    finally:
        for name, stream in before.items():
            if getattr(sys, name) is not None:
                getattr(sys, name).flush()
            setattr(sys, name, stream)


def open_streams() -> None:
    """Open closed standard streams on the null device; otherwise the next opened file would take
    their place.
    """
    for descriptor in (0, *STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            to_nowhere(descriptor)
