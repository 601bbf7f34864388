"""Cells several at a time, in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch

from harness.engine.cell import Progress
from harness.engine.executors.outcome import Failed, Outcome
from harness.engine.executors.parent import end_with_parent
from harness.engine.executors.worker import Begun, Sent, begun, gradients, ready, received, request, worked
from harness.engine.plan import Cell, Work
from harness.run.schema import Parts
from harness.storage.output import make_patient


def in_processes(
    work: Work, left: deque[Cell], workers: int, device: torch.device, progress: Progress, deadline: float | None
) -> Iterator[tuple[Cell, Outcome]]:
    """Do this many cells at a time, each in a process with its share of the cores; see `serially`.

    If a process dies, the cells that were running are done again, each alone. A cell that kills its
    process again is an error.
    """
    pool, under_way, finished = _pool(work, workers, device), dict[Future[Sent], Cell](), False
    try:
        while left or under_way:
            broken = False
            while left and len(under_way) < workers and not broken:
                try:
                    under_way[pool.submit(worked, *request(left[0], deadline if finished else None))] = left[0]
                    left.popleft()
                except BrokenProcessPool:  # a running cell broke the pool; this cell has not begun
                    broken = True
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    outcome = received(future.result())
                except BrokenProcessPool:
                    broken = True
                    continue
                cell = under_way.pop(future)
                finished = finished or isinstance(outcome, Parts)
                progress(len(cell.rows) * work.search_count, gradients(outcome))
                yield cell, outcome
            if broken:
                suspects, under_way = list(under_way.values()), {}
                for cell in suspects:
                    pool.shutdown(wait=False, cancel_futures=True)
                    pool = _pool(work, 1, device)
                    yield cell, _alone(pool, cell)
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(work, workers, device)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _pool(work: Work, workers: int, device: torch.device) -> ProcessPoolExecutor:
    start = begun(work, device), max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_started, initargs=start)


def _started(start: Begun, threads: int) -> None:
    """The start of a worker process."""
    end_with_parent()
    make_patient()
    ready(start, threads)


def _alone(pool: ProcessPoolExecutor, cell: Cell) -> Outcome:
    try:
        return received(pool.submit(worked, *request(cell, None)).result())
    except BrokenProcessPool:
        return Failed("its process was killed twice: because memory ran out, or by a fault of a library\n")
