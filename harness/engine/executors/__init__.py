"""How the cells of a run are computed: one after the other in this process, in processes on this
machine, or on Ray.

Cells are independent, and the result of a cell does not depend on where it runs. Only the driver
writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch

from attacks.errors import BadInput
from harness.engine.cell import Progress
from harness.engine.executors.outcome import Failed, Outcome
from harness.engine.executors.processes import in_processes
from harness.engine.executors.ray import library, on_ray
from harness.engine.executors.serial import serially
from harness.engine.plan import Cell, Work
from harness.run.config import Evaluation

__all__ = ["Failed", "Outcome", "check_engine", "outcomes"]


def check_engine(config: Evaluation) -> None:
    """Refuse, before any work, options that the engine cannot carry out.

    Raises:
        BadInput: Ray is chosen but not installed, or comes with --workers; or an address comes
            without Ray.
    """
    if config.engine == "ray":
        library()
        if config.workers != 1:
            raise BadInput(
                f"--workers {config.workers} needs --engine local: Ray runs as many cells at a time as its cluster has"
                " room for"
            )
    elif config.address is not None:
        raise BadInput(f"--address {config.address} needs Ray: add --engine ray")


def outcomes(
    work: Work, left: deque[Cell], device: torch.device, progress: Progress, deadline: float | None
) -> Iterator[tuple[Cell, Outcome]]:
    """Each cell and its outcome, in the order in which they end. Meanwhile cells may be added on
    the left.

    Args:
        deadline: by `time.monotonic`. The first cell is always finished.
    """
    if work.config.engine == "ray":
        return on_ray(work, left, device, progress, deadline)
    workers = min(work.config.workers, max(1, len(left)))
    if workers == 1:
        return serially(work, left, device, progress, deadline)
    return in_processes(work, left, workers, device, progress, deadline)
