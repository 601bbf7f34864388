"""How the cells of a run are done: one after the other here, in processes of this machine, or on
Ray.

Cells are independent, and what one finds does not depend on where it runs. The driver alone writes.
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
    """Refuse before any work what the engine cannot do.

    Raises:
        BadInput: Ray is wanted and not installed, or is told of workers; or an address is given
            without it.
    """
    if config.engine == "ray":
        library()
        if config.workers != 1:
            raise BadInput(
                f"--workers {config.workers} is for --engine local: Ray does as many cells at a time as its cluster has"
                " room for"
            )
    elif config.address is not None:
        raise BadInput(f"--address {config.address} is a Ray cluster's: add --engine ray")


def outcomes(
    work: Work, left: deque[Cell], device: torch.device, progress: Progress, deadline: float | None
) -> Iterator[tuple[Cell, Outcome]]:
    """Each cell and what became of it, as they end; more may be put on the left meanwhile.

    Args:
        deadline: by `time.monotonic`. The first cell is finished whatever it says.
    """
    if work.config.engine == "ray":
        return on_ray(work, left, device, progress, deadline)
    workers = min(work.config.workers, max(1, len(left)))
    if workers == 1:
        return serially(work, left, device, progress, deadline)
    return in_processes(work, left, workers, device, progress, deadline)
