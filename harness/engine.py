"""How the cells of a run are done: one after the other here, or several at a time in processes of this machine.

Cells are independent, and what one finds does not depend on where it runs. The driver alone writes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from attacks.errors import BadInput, ModelBroke
from harness.cell import OutOfTime, Parts, Progress, out_of_memory, run_cell
from harness.config import Evaluation
from harness.environment import choose_device
from harness.neighbourhood import load_all
from harness.plan import Cell, Work, prepare


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
Sent = tuple[Outcome, bytes]
"""From a process: an outcome without its witnesses, and these as safetensors."""


def serially(
    work: Work, left: deque[Cell], device: torch.device, progress: Progress, deadline: float | None
) -> Iterator[tuple[Cell, Outcome]]:
    """Do the cells in turn, in this process; more may be put on the left meanwhile.

    The first is finished whatever the deadline, so that a run called again and again comes to an end.
    """
    finished = False
    while left:
        cell = left.popleft()
        outcome = carried_out(work, cell, device, progress, deadline if finished else None)
        finished = finished or isinstance(outcome, Parts)
        yield cell, outcome


def in_processes(work: Work, left: deque[Cell], workers: int, progress: Progress, deadline: float | None) -> Iterator[tuple[Cell, Outcome]]:
    """Do so many cells at a time, each in a process with its share of the cores; see `serially`.

    A process that dies takes its cell with it once: what was under way is done again alone, and what kills its process
    again is an error.
    """
    pool, under_way, finished = _pool(work, workers), dict[Future[Sent], Cell](), False
    try:
        while left or under_way:
            broken = False
            while left and len(under_way) < workers and not broken:
                try:
                    under_way[_submitted(pool, left[0], deadline if finished else None)] = left[0]
                    left.popleft()
                except BrokenProcessPool:  # what is under way broke it; this cell has not begun
                    broken = True
            ready, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in ready:
                try:
                    outcome = _received(future.result())
                except BrokenProcessPool:
                    broken = True
                    continue
                cell = under_way.pop(future)
                finished = finished or isinstance(outcome, Parts)
                progress(len(cell.rows) * work.scenario_count, _gradients(outcome))
                yield cell, outcome
            if broken:
                suspects, under_way = list(under_way.values()), {}
                for cell in suspects:
                    pool.shutdown(wait=False, cancel_futures=True)
                    pool = _pool(work, 1)
                    yield cell, _alone(pool, cell)
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(work, workers)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


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
    except Exception as error:
        return Failed(traceback.format_exc(), memory=out_of_memory(error))


class TooSlow(Exception):
    """A cell has had its time; it is an error, and the rest goes on."""


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


def _pool(work: Work, workers: int) -> ProcessPoolExecutor:
    start = work.config.model_dump(mode="json"), work.run, max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_ready, initargs=start)


def _submitted(pool: ProcessPoolExecutor, cell: Cell, deadline: float | None) -> Future[Sent]:
    seconds = None if deadline is None else deadline - time.monotonic()
    return pool.submit(_worked, cell.model.name, cell.key, cell.rows, seconds)


def _alone(pool: ProcessPoolExecutor, cell: Cell) -> Outcome:
    try:
        return _received(_submitted(pool, cell, None).result())
    except BrokenProcessPool:
        return Failed("its process was killed, twice: by the system for want of memory, or by a fault of a library's\n")


def _gradients(outcome: Outcome) -> int:
    return sum(row["gradients"] for row in outcome.rows["ledger"]) if isinstance(outcome, Parts) else 0


_HERE: list[tuple[Work, torch.device]] = []  # of a worker process


def _ready(config: dict[str, object], run: str, threads: int) -> None:
    """Load the task and the models, once for each process; the data root is in the environment."""
    torch.set_num_threads(threads)
    evaluation = Evaluation.model_validate(config)
    device = choose_device(evaluation.device)
    work = prepare(evaluation, *load_all(evaluation, device))
    if work.run != run:
        raise RuntimeError("the task or a model is not what it was when the run began: a file changed under it")
    _HERE[:] = [(work, device)]


def _worked(model: str, key: str, rows: tuple[int, ...], seconds: float | None) -> Sent:
    work, device = _HERE[0]
    loaded = next(each for each in work.models if each.name == model)
    deadline = None if seconds is None else time.monotonic() + seconds
    outcome = carried_out(work, Cell(key, loaded, rows), device, lambda samples, gradients: None, deadline)
    if isinstance(outcome, Failed) or not outcome.witnesses:
        return outcome, b""
    return replace(outcome, witnesses={}), to_safetensors(outcome.witnesses)


def _received(sent: Sent) -> Outcome:
    outcome, witnesses = sent
    if isinstance(outcome, Parts) and witnesses:
        outcome.witnesses.update(from_safetensors(witnesses))
    return outcome
