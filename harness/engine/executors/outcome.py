"""The outcome of a cell: its result, or the reason why it has no result."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

import torch

from attacks.errors import BadInput, ModelBroke
from harness.engine.cell import Progress, run_cell
from harness.engine.plan import Cell, Work
from harness.engine.singly import OutOfTime, out_of_memory
from harness.engine.timelimit import limited
from harness.run.schema import Parts


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
    """The result of a cell, or the reason why it has no result.

    Raises:
        BadInput: a fault of a model, which affects the whole run.
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
    except (Exception, SystemExit) as error:  # a model that ends the program must not end it with a good exit code
        return Failed(traceback.format_exc(), memory=out_of_memory(error))
