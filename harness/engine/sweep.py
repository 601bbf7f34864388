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

from attacks.errors import BadInput, ModelBroke
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
                shared = {"kind": kind_of(schedule), "name": str(schedule), "level": level, "repeat": repeat}
                apply = partial(_applied, schedule, task, batch, level, repeat, seed)
                for sample, pattern, found in _answered(model, task, batch, apply):
                    lost = isinstance(found, BaseException)
                    if lost:
                        if on_error is None:
                            raise found
                        on_error(f"{schedule} at {level:g}", found)
                    where = {"sample": sample, "present": pattern, "status": "error" if lost else "ok"}
                    yield {**shared, **where, **(NOTHING if lost else found)}


def kind_of(condition: Condition) -> str:
    """The kind of a row of the sweep: schedule or corruption."""
    return SCHEDULE if isinstance(condition, Schedule) else CORRUPTION


def part(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some samples of a batch, in this order."""
    return batch if list(rows) == list(range(len(batch))) else batch.take(list(rows))


Applied = tuple[Batch, Tensor]
"""Samples under a condition, and which modalities are present, bool (B, M)."""


def _answered(
    model: nn.Module, task: Task, batch: Batch, apply: Callable[[Sequence[int]], Applied]
) -> Iterator[tuple[str, str, Any]]:
    """For each sample, what is present, and the columns of its answer, or the error of the
    condition or of the model.
    """
    for rows, applied in singled_out(range(len(batch)), apply):
        if isinstance(applied, BaseException):
            some = part(batch, rows)
            yield some.samples[0], bits(task.present(some).cpu())[0], applied
            continue
        some, present = applied
        patterns = bits(present)
        for places, found in singled_out(range(len(some)), partial(_scored_rows, model, task, some, present)):
            columns = [found] if isinstance(found, BaseException) else found
            for place, each in zip(places, columns, strict=True):
                yield some.samples[place], patterns[place], each


def _applied(
    condition: Condition, task: Task, batch: Batch, level: Any, repeat: int, seed: int, rows: Sequence[int]
) -> Applied:
    """Some samples under a condition.

    Raises:
        ModelBroke: a user's corruption gives values that cannot be used; it costs its own rows.
    """
    some = part(batch, rows)
    try:
        inputs, present = condition.applied(task, some, level, repeat, seed)
    except BadInput as error:
        raise ModelBroke(str(error)) from error
    return replace(some, inputs=inputs), present


def _scored_rows(
    model: nn.Module, task: Task, batch: Batch, present: Tensor, rows: Sequence[int]
) -> list[dict[str, Any]]:
    some = part(batch, rows)
    return _scored(model, task, some, some.inputs, present if some is batch else present[list(rows)])


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
