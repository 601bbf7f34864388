"""Checks of a model before a run: its fingerprint, whether a sample alone gets the same answer as
in a batch, and whether two calls agree.

If they differ, each number depends on more than the sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.objective import preserved
from attacks.region import Inputs
from harness.engine.fingerprint import fixed_samples
from harness.engine.objective import HALF, TaskObjective
from harness.engine.singly import out_of_memory
from harness.engine.timelimit import TooSlow, limited
from harness.run.fingerprint import SAMPLES, Fingerprint, another_verdict, same, spread
from harness.run.flags import Flag
from harness.tasks import Batch, Task
from harness.tasks.batch import PAD

AGAIN = 8  # times that a sample alone is asked where a model raises
NO_SLOPE = 1e-7  # of the margin, across the spread of an input: float32 cannot represent a smaller change
UNRECORDED = re.compile(r"requires?.grad|autograd|backward")  # how torch says that gradients cannot be recorded
EXACT, ROUNDED = 1e-5, 1e-2  # of the spread of the outputs, in float32 and in half precision


@dataclass(frozen=True)
class Steadiness:
    """The shares of samples whose answer changes.

    Attributes:
        alone: when the model gets them one by one, or in smaller batches.
        again: when the model gets the same batch again.

    Untouched or with a modality missing, whichever changes most.
    """

    alone: float
    again: float

    @property
    def holds(self) -> bool:
        return not (self.alone or self.again)

    def joined(self, other: Steadiness) -> Steadiness:
        """The larger shares of two checks."""
        return Steadiness(max(self.alone, other.alone), max(self.again, other.again))

    @property
    def flags(self) -> list[Flag]:
        """The flags `batch` and `random`. For a random model the test of its batch is
        meaningless.
        """
        found = (
            f"the answers to {self.alone:.0%} of the samples change when the model gets them one by one or in smaller"
            " batches"
        )
        batch = Flag(
            "batch",
            self.alone > 0 and not self.again,
            self.alone,
            found,
            "every number depends on which samples are in one batch",
        )
        found = f"the output of {self.again:.0%} of the samples differs between two identical calls"
        return [
            batch,
            Flag(
                "random", self.again > 0, self.again, found, "every number is one draw, and randomness hides failures"
            ),
        ]


@dataclass(frozen=True)
class Slopes:
    """Where an attack has a gradient to follow.

    Attributes:
        flat: the modalities that the model uses and that have none, where others have one.
        somewhere: whether any modality has one.
    """

    flat: tuple[str, ...] = ()
    somewhere: bool = True


@dataclass(frozen=True, eq=False)
class Answering:
    """The properties of a model that its answers to a few inputs show."""

    fingerprint: Fingerprint
    steadiness: Steadiness
    slopes: Slopes = Slopes()


def slopes_of(module: nn.Module, task: Task, device: torch.device, seconds: float | None) -> Slopes:
    """Where the margins of the fixed samples have a gradient that an attack can follow.

    A model that answers, and where torch says that gradients cannot be recorded, has none: it may
    hand tensors to NumPy or to another process. If the model raises, nothing is known,
    and all modalities count as having one. The model does not change.
    """
    batch = fixed_samples(task).to(device)
    objective = TaskObjective(module, task, batch.targets, task.present(batch), {})
    moving = {name: x.detach().clone().requires_grad_() for name, x in batch.inputs.items() if x.is_floating_point()}
    try:
        with preserved(module), limited(seconds):
            try:
                with torch.enable_grad():
                    margin = objective({**batch.inputs, **moving}).losses["margin"]
                    if not margin.requires_grad:
                        return Slopes(somewhere=False)
                    found = torch.autograd.grad(margin.sum(), list(moving.values()), allow_unused=True)
            except Exception as error:
                if not UNRECORDED.search(str(error)) or out_of_memory(error):
                    return Slopes()
                with torch.no_grad():
                    objective(batch.inputs)
                return Slopes(somewhere=False)
            steep = NO_SLOPE * margin.detach().abs()
            flat = [
                name
                for (name, x), slope in zip(moving.items(), found, strict=True)
                if slope is None or bool((slope.flatten(1).abs().amax(1) * spread(x.detach()) <= steep).all())
            ]
            if len(flat) == len(moving):
                return Slopes(somewhere=False)
            return Slopes(tuple(name for name in flat if _matters(objective, batch.inputs, name)))
    except (Exception, SystemExit):
        return Slopes()


@torch.no_grad()
def _matters(objective: TaskObjective, inputs: Inputs, name: str) -> bool:
    """Whether an output changes when the samples exchange a modality."""
    return not torch.equal(objective.raw({**inputs, name: inputs[name].roll(1, 0)}), objective.raw(inputs))


def steadiness(
    module: nn.Module, task: Task, device: torch.device, seconds: float | None, together: int = SAMPLES
) -> Steadiness:
    """Evaluate a model on the fixed samples, untouched and with modalities missing. The model does
    not change.

    It gets a batch twice, and sample by sample. It also gets a batch of the run's size in small
    parts. A condition under which the model raises is left out: its rows are errors.

    Args:
        together: samples in a batch of the run.
    """
    found = Steadiness(0.0, 0.0)
    with suppress(Exception, SystemExit), preserved(module), torch.no_grad(), limited(seconds):
        for batch, one_by_one in _batches(task, device, together):
            for present in _patterns(task, batch):
                found = found.joined(_steady(module, task, batch, present, one_by_one))
    return found


def steadiness_on(
    module: nn.Module, task: Task, device: torch.device, seconds: float | None, batches: Iterable[Sequence[int]]
) -> Steadiness:
    """The same on batches of the test split, given as rows: untouched, twice and sample by
    sample.
    """
    found = Steadiness(0.0, 0.0)
    with suppress(Exception, SystemExit), preserved(module), torch.no_grad(), limited(seconds):
        for rows in batches:
            batch = task.splits["test"].take(rows).to(device)
            found = found.joined(_steady(module, task, batch, task.present(batch), 1))
    return found


def _patterns(task: Task, batch: Batch) -> Iterator[Tensor]:
    """Which modalities are present, bool (B, M): all; all but one; and, by row, all or all but one
    of them.
    """
    count, every = len(task.modalities), task.present(batch)
    yield every
    for name in task.optional:
        yield task.present(batch, [name])
    rows = torch.arange(len(batch), device=every.device)
    for turn in range(count + 1):
        left = torch.arange(count, device=every.device) != ((rows + turn) % (count + 1))[:, None]
        yield every & task.kept(left)


def _batches(task: Task, device: torch.device, together: int) -> Iterator[tuple[Batch, int]]:
    """The batches to evaluate, and the sizes of their parts."""
    yield fixed_samples(task).to(device), 1
    if together > SAMPLES:
        yield fixed_samples(task, together).to(device), PAD


def _steady(module: nn.Module, task: Task, batch: Batch, present: Tensor, size: int) -> Steadiness:
    """The same for one batch.

    A model that answers or raises by chance is random, also if only its parts show it. Then there
    is no answer to compare the parts with.
    """
    first, second = (_in_parts(module, task, batch, present, len(batch)) for _ in range(2))
    if first is None and second is None:
        return _steady_where_answered(module, task, batch, present, size)
    tolerance = _tolerance(module, first or second)
    if again := _differ(first, second, tolerance):
        return Steadiness(0.0, again)
    parts = _in_parts(module, task, batch, present, size)
    if not (alone := _differ(first, parts, tolerance)):
        return Steadiness(0.0, 0.0)
    chance = _differ(parts, _in_parts(module, task, batch, present, size), tolerance)
    if parts is None and not chance:  # does it raise on every part, or on some by chance?
        alike = [_in_parts(module, task, batch.take([0]), present[:1], 1) is None for _ in range(AGAIN)]
        chance = float(len(set(alike)) > 1)
    return Steadiness(0.0, chance) if chance else Steadiness(alone, 0.0)


def _steady_where_answered(module: nn.Module, task: Task, batch: Batch, present: Tensor, size: int) -> Steadiness:
    """The same where the model raises on the batch: on the samples that it answers alone or, if
    they are all, in halves, as the batch is too large for it.
    """
    if len(batch) == 1:
        return Steadiness(0.0, 0.0)
    answered = [row for row in range(len(batch)) if _in_parts(module, task, batch.take([row]), present[[row]], 1)]
    whole = len(answered) == len(batch)
    parts = torch.arange(len(batch)).chunk(2) if whole else [torch.tensor(answered, dtype=torch.int64)]
    found = [_steady(module, task, batch.take(rows), present[rows], size) for rows in parts if len(rows)]
    return Steadiness(max([0.0, *(each.alone for each in found)]), max([0.0, *(each.again for each in found)]))


def _tolerance(module: nn.Module, answer: list[Tensor] | None) -> float:
    """The tolerance for rounding in the precision of the weights or of the answers."""
    held = {x.dtype for x in (*module.parameters(), *module.buffers())}
    return ROUNDED if held & set(HALF) or (answer is not None and answer[0].dtype in HALF) else EXACT


def _outputs(module: nn.Module, task: Task, batch: Batch, present: Tensor) -> list[Tensor]:
    """Outputs (B, *shape), in the precision of the model, and margins (B,)."""
    objective = TaskObjective(module, task, batch.targets, present, {})
    outputs = objective.raw(batch.inputs)
    judged = outputs.float() if outputs.dtype in HALF else outputs
    return [outputs, task.problem.verdict(judged, batch.targets).losses["margin"]]


def _in_parts(module: nn.Module, task: Task, batch: Batch, present: Tensor, size: int) -> list[Tensor] | None:
    """The same, with this many samples at a time; None where the model does not take such
    batches.
    """
    rows = [list(range(start, min(start + size, len(batch)))) for start in range(0, len(batch), size)]
    try:
        parts = [_outputs(module, task, batch.take(each), present[each]) for each in rows]
    except TooSlow:
        raise
    except (Exception, SystemExit):
        return None
    return [torch.cat(each) for each in zip(*parts, strict=True)]


def _differ(first: list[Tensor] | None, second: list[Tensor] | None, tolerance: float) -> float:
    """The share of the rows whose outputs or verdicts differ; all where only one was answered."""
    if first is None or second is None:
        return float((first is None) != (second is None))
    wide = tolerance * spread(first[0].float())
    rows = ~same(first[0], second[0], wide).flatten(1).all(1) | another_verdict(first[1], second[1], wide)
    return float(rows.double().mean())
