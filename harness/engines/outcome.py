"""What becomes of a cell: what it found, or why it found nothing."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from attacks.errors import BadInput, ModelBroke
from harness.cell import OutOfTime, Parts, Progress, TooSlow, out_of_memory, run_cell
from harness.plan import Cell, Work


@dataclass(frozen=True)
class Failed:
    """A cell without a result.

    Attributes:
        traceback: why.
        memory: whether the device could not hold it: half of it may fit.
        time: whether the budget of the run was spent.
    """

    traceback: str
    memory: bool = False
    time: bool = False


Outcome = Parts | Failed


def carried_out(work: Work, cell: Cell, device: torch.device, progress: Progress, deadline: float | None) -> Outcome:
    """What a cell finds, or why it finds nothing.

    Raises:
        BadInput: what is wrong with a model is wrong with all of the run.
    """
    try:
        with limited(work.config.cell_limit):
            return run_cell(work, cell, device, progress, deadline)
    except OutOfTime:
        return Failed("", time=True)
    except BadInput as error:
        if not isinstance(error, ModelBroke):
            raise BadInput(f"model {cell.model.name!r}: {error}") from None
        return Failed(traceback.format_exc())
    except (Exception, SystemExit) as error:  # a model that ends the program would end it as if all were well
        return Failed(traceback.format_exc(), memory=out_of_memory(error))


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Raise `TooSlow` when the block takes longer; what hangs outside Python is interrupted when it comes back.

    By an alarm of the operating system, which only the main thread of a process can be given.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise TooSlow(f"it took longer than --cell-limit, {seconds:g} s: the model hangs, or needs a larger limit or smaller --batch-size")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
