"""A time that a block of work may take."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TooSlow(Exception):
    """The work has exceeded its time."""


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Raise `TooSlow` when the block takes longer. A call that hangs outside Python is interrupted
    when it comes back.

    It uses an alarm of the operating system, which only the main thread of a process can get.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise TooSlow(
            f"it took longer than --cell-limit, {seconds:g} s: the model hangs, or needs a larger limit or smaller"
            " --batch-size"
        )

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
