"""What a model is asked before a run: its fingerprint, and whether it answers alone as in its batch, and twice alike.

Where it does not, every number of it depends on more than the sample.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.objective import preserved
from harness.checks import Flag
from harness.fingerprint import Fingerprint, another_verdict, fingerprint, fixed_samples, same, spread
from harness.loading import Loaded
from harness.objective import HALF, TaskObjective
from harness.tasks import Batch, Task
from harness.timelimit import TooSlow, limited

ALONE = 8  # samples that are asked one by one
EXACT, ROUNDED = 1e-5, 1e-2  # of the spread of the outputs, in float32 and in half precision


@dataclass(frozen=True)
class Steadiness:
    """The shares of the samples whose answer changes.

    Attributes:
        alone: when they are asked one by one.
        again: when the same batch is asked again.
    """

    alone: float
    again: float

    @property
    def holds(self) -> bool:
        return not (self.alone or self.again)

    @property
    def flags(self) -> list[Flag]:
        """`batch` and `random`. What a random model answers alone says nothing of its batch."""
        found = f"the answers of {self.alone:.0%} of the samples change when they are asked one by one"
        batch = Flag("batch", self.alone > 0, self.alone, found, "every number depends on which samples are asked together")
        found = f"the output of {self.again:.0%} of the samples differs between two identical calls"
        return [batch, Flag("random", self.again > 0, self.again, found, "every number is one draw, and randomness hides failures")]


@dataclass(frozen=True, eq=False)
class Answering:
    """What a model's answers to a few questions say of it."""

    fingerprint: Fingerprint
    steadiness: Steadiness


def ask(models: Iterable[Loaded], task: Task, device: torch.device, seconds: float | None) -> dict[str, Answering]:
    """Ask each model, in at most so many seconds for each of the two; it is left as it was."""
    found = {}
    for model in models:
        asked = model.module, task, device, seconds
        found[model.name] = Answering(fingerprint(*asked), steadiness(*asked))
    return found


def steadiness(module: nn.Module, task: Task, device: torch.device, seconds: float | None) -> Steadiness:
    """Ask a model three times; it is left as it was.

    A model that cannot be asked untouched is steady: its cells are errors.
    """
    batch = fixed_samples(task).to(device)
    try:
        with preserved(module), torch.no_grad(), limited(seconds):
            tolerance = _tolerance(module, task, batch)
            first, second = (_asked(module, task, batch) for _ in range(2))
            if again := _changed(first, second, tolerance):
                return Steadiness(0.0, again)
            return Steadiness(_changed([each[:ALONE] for each in first], _one_by_one(module, task, batch), tolerance), 0.0)
    except (Exception, SystemExit):
        return Steadiness(0.0, 0.0)


def _tolerance(module: nn.Module, task: Task, batch: Batch) -> float:
    """As rounding in the precision of the weights, or of the answers, asks for."""
    held = {x.dtype for x in (*module.parameters(), *module.buffers())}
    return ROUNDED if held & set(HALF) or _objective(module, task, batch).raw(batch.inputs).dtype in HALF else EXACT


def _objective(module: nn.Module, task: Task, batch: Batch) -> TaskObjective:
    present = torch.ones(len(batch), len(task.modalities), dtype=torch.bool, device=batch.targets.device)
    return TaskObjective(module, task, batch.targets, present, {})


def _asked(module: nn.Module, task: Task, batch: Batch) -> list[Tensor]:
    """Outputs (B, width) and margins (B,)."""
    outputs = _objective(module, task, batch).answers(batch.inputs)
    return [outputs, task.problem.verdict(outputs, batch.targets).losses["margin"]]


def _one_by_one(module: nn.Module, task: Task, batch: Batch) -> list[Tensor] | None:
    """The same of the first samples, each asked alone; None where the model cannot be asked so."""
    try:
        alone = [_asked(module, task, batch.take([row])) for row in range(min(ALONE, len(batch)))]
    except TooSlow:
        raise
    except (Exception, SystemExit):
        return None
    return [torch.cat(each) for each in zip(*alone, strict=True)]


def _changed(first: list[Tensor], second: list[Tensor] | None, tolerance: float) -> float:
    """The share of the rows whose outputs or verdicts differ."""
    if second is None:
        return 1.0
    wide = tolerance * spread(first[0])
    rows = ~same(first[0], second[0], wide).flatten(1).all(1) | another_verdict(first[1], second[1], wide)
    return float(rows.double().mean())
