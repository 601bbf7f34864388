"""The sweep: one row per sample, schedule (or corruption), level and repeat, the score there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any, Protocol

import pyarrow as pa
import torch
from torch import Tensor, nn

from attacks.region import Inputs
from harness.analysis.curves import rows_of
from harness.engine.judged import NOTHING, judged_rows
from harness.engine.objective import TaskObjective
from harness.engine.singly import singled_out
from harness.run.schema import CORRUPTION, SCHEDULE
from harness.schedules import Schedule, bits
from harness.tasks import Batch, Task

MAX_SUBSETS = 4  # modalities; every set of more is too many to sweep unasked


class Condition(Protocol):
    """A schedule or a corruption, at several levels.

    Its text names it in the sweep.
    """

    @property
    def levels(self) -> Sequence[float]:
        """The rates or severities it is run at; at 0 the inputs are clean and all present."""

    def applied(self, task: Task, batch: Batch, level: Any, repeat: int, seed: int, /) -> tuple[Inputs, Tensor]:
        """The inputs at a level, and which are present, bool (B, M)."""


def each_missing(task: Task) -> list[Schedule]:
    """For the summary, every modality missing in every sample; for Shapley values, every set of up
    to `MAX_SUBSETS` modalities. Required ones are never missing.
    """
    most = len(task.optional) if len(task.optional) <= MAX_SUBSETS else 1
    sets = [names for size in range(most + 1) for names in combinations(task.optional, size)]
    return [Schedule("fixed", names, (1.0,)) if names else Schedule("mcar", (), (0.0,)) for names in sets]


def sweep_rows(
    model: nn.Module,
    task: Task,
    batch: Batch,
    schedules: Sequence[Condition],
    repeats: int,
    seed: int,
    on_error: Callable[[object, BaseException], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Score a batch under every schedule or corruption, level and repeat. A condition that appears
    twice is computed once.

    Args:
        on_error: called if the model raises on a sample under a condition; that row is then an
            error. It may raise again. Without it, the exception ends the sweep.
    """
    done: set[tuple[str, float]] = set()
    for schedule in schedules:
        levels = [level for level in dict.fromkeys(schedule.levels) if (str(schedule), level) not in done]
        done |= {(str(schedule), level) for level in levels}
        for level in levels:
            for repeat in range(repeats):
                inputs, present = schedule.applied(task, batch, level, repeat, seed)
                shared = {"kind": kind_of(schedule), "name": str(schedule), "level": level, "repeat": repeat}
                answered = singled_out(range(len(batch)), partial(_scored_rows, model, task, batch, inputs, present))
                patterns = bits(present)
                for rows, found in answered:
                    if isinstance(found, BaseException):
                        if on_error is None:
                            raise found
                        on_error(f"{schedule} at {level:g}", found)
                    status = "error" if isinstance(found, BaseException) else "ok"
                    judged = [NOTHING] if isinstance(found, BaseException) else found
                    for row, columns in zip(rows, judged, strict=True):
                        where = {"sample": batch.samples[row], "present": patterns[row], "status": status}
                        yield {**shared, **where, **columns}


def kind_of(condition: Condition) -> str:
    """The kind of a row of the sweep: schedule or corruption."""
    return SCHEDULE if isinstance(condition, Schedule) else CORRUPTION


def part(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some samples of a batch, in this order."""
    return batch if list(rows) == list(range(len(batch))) else batch.take(list(rows))


def _scored_rows(
    model: nn.Module, task: Task, batch: Batch, inputs: Inputs, present: Tensor, rows: Sequence[int]
) -> list[dict[str, Any]]:
    some = part(replace(batch, inputs=inputs), rows)
    return _scored(model, task, some, some.inputs, present if some.inputs is inputs else present[list(rows)])


def _scored(model: nn.Module, task: Task, batch: Batch, inputs: Inputs, present: Tensor) -> list[dict[str, Any]]:
    """The columns of each sample's answer."""
    with torch.no_grad():
        outputs = TaskObjective(model, task, batch.targets, present.to(batch.targets.device), {}).outputs(inputs)
        return judged_rows(task.problem, outputs, batch.targets)


MASKS = ("name", "level", "repeat", "sample", "present")  # the columns that say what was missing


def mask_hash(sweep: pa.Table) -> str:
    """SHA-256 over every mask of a sweep, whatever the order of its rows."""
    digest, separator = hashlib.sha256(b"["), b""
    for mask in rows_of(f"select distinct {', '.join(MASKS)} from sweep order by all", sweep=sweep):
        digest.update(separator + repr(mask).encode())
        separator = b", "
    digest.update(b"]")
    return digest.hexdigest()
