"""Cells one after the other, in the process of the driver."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch

from harness.engine.cell import Progress
from harness.engine.executors.outcome import Outcome, carried_out
from harness.engine.plan import Cell, Work
from harness.run.schema import Parts


def serially(
    work: Work, left: deque[Cell], device: torch.device, progress: Progress, deadline: float | None
) -> Iterator[tuple[Cell, Outcome]]:
    """Do the cells in turn, in this process; more may be put on the left meanwhile.

    The first cell is always finished, whatever the deadline. So a run that is called again and
    again comes to an end.
    """
    finished = False
    work.task.splits["test"].plan([cell.rows for cell in left])
    while left:
        cell = left.popleft()
        outcome = carried_out(work, cell, device, progress, deadline if finished else None)
        finished = finished or isinstance(outcome, Parts)
        yield cell, outcome
