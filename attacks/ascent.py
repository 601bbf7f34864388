"""The loop that every fixed-strength attack by gradients shares.

Steps come in blocks. Inside a block nothing is read back from the device; between two blocks the
samples that fail leave the batch. The best iterate of the whole path is kept, never the last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from attacks.objective import Loss, Named, Objective, Verdict, judged_gradient, refuse_nan
from attacks.region import Inputs, Region, select, take

BLOCK = 5  # steps between two looks at which samples fail


@dataclass(frozen=True, eq=False)
class Attempt:
    """What a fixed-strength attack reached.

    Attributes:
        inputs: the attacked modalities: the first iterate that fails, else the one of highest loss.
        fails: whether it fails, bool (B,).
        gradients: gradient evaluations spent on each sample, int64 (B,).
        late: the share of all that the loss rose by which it rose in the last tenth of the steps,
            (B,); None where the attack does not say.
    """

    inputs: Inputs
    fails: Tensor
    gradients: Tensor
    late: Tensor | None = None


@dataclass(eq=False)
class Ascent:
    """The samples still under attack.

    Attributes:
        strength: t of each sample, float64 (B,).
        at: the attacked modalities now.
        best: the first iterate that failed, else the one of highest loss (of a graded answer, of
            lowest score); `value` is the loss, or minus the score, there.
        fails: whether `best` fails, bool (B,).
        broken: whether the model ever answered NaN, bool (B,).
        marks: the best loss at the first step and where the last tenth of the steps begins, (B, 2).
    """

    objective: Objective
    region: Region
    loss: Loss
    strength: Tensor
    at: Inputs
    best: Inputs
    value: Tensor
    fails: Tensor
    broken: Tensor
    marks: Tensor

    @property
    def late(self) -> Tensor:
        """See `Attempt`."""
        first, mark = self.marks.unbind(1)
        rise = self.value - first
        return torch.where(rise > 0, (self.value - mark) / rise.clamp_min(torch.finfo(rise.dtype).tiny), 0.0)

    def mark(self, column: int) -> None:
        self.marks = torch.where(torch.arange(2, device=self.marks.device) >= column, self.value[:, None], self.marks)

    def keep(self, fails: Tensor, value: Tensor) -> Tensor:
        """Remember the present iterate if it is better; returns where it was, bool (B,)."""
        better = ~self.fails & (fails | (value > self.value))
        self.best = select(better, self.at, self.best)
        self.value = torch.where(better, value, self.value)
        self.fails = self.fails | fails
        self.broken = self.broken | value.isnan()
        return better

    def take(self, rows: Tensor) -> Ascent:
        return Ascent(
            self.objective.take(rows),
            self.region.take(rows),
            self.loss.take(rows),
            self.strength[rows],
            take(self.at, rows),
            take(self.best, rows),
            self.value[rows],
            self.fails[rows],
            self.broken[rows],
            self.marks[rows],
        )


@runtime_checkable
class Mover(Protocol):
    """How an attack moves from one iterate to the next, and what it remembers of each sample."""

    def move(self, ascent: Ascent, value: Tensor, gradient: Inputs, better: Tensor, step: int) -> Inputs:
        """The next iterate of the attacked modalities.

        Args:
            value: the loss at the present one, (B,).
            better: whether the present one is the best so far, bool (B,).
            step: from 0.
        """

    def take(self, rows: Tensor) -> Mover:
        """The same for the chosen rows only."""


def ascend(
    objective: Objective,
    region: Region,
    strength: Tensor | float,
    mover: Mover,
    *,
    steps: int,
    loss: Loss | None,
    start: Inputs | None,
) -> Attempt:
    """Run an attack from `start` (the clean inputs if absent) at strength t, shared or per sample
    (B,).

    Raises:
        ModelBroke: the model answers NaN.
    """
    device = next(iter(region.inputs.values())).device
    limit = torch.as_tensor(strength, dtype=torch.float64, device=device).expand(len(region))
    at = region.project(start or region.clean, limit)
    nothing = torch.zeros(len(region), dtype=torch.bool, device=device)
    lowest = torch.full((len(region),), float("-inf"), device=device)
    ascent = Ascent(
        objective, region, loss or Named(), limit, at, at, lowest, nothing, nothing, lowest[:, None].repeat(1, 2)
    )
    rows, none = torch.arange(len(region), device=device), torch.zeros_like(limit, dtype=torch.int64)
    late = torch.zeros_like(lowest)
    attempt = Attempt(dict(at), nothing.clone(), none, late)
    last = steps - math.ceil(steps / 10)
    for first in range(0, steps, BLOCK):
        block = range(first, min(first + BLOCK, steps))
        for step in block:
            verdict, value, gradient = judged_gradient(ascent.objective, ascent.region, ascent.at, ascent.loss)
            better = ascent.keep(verdict.fails, _rank(verdict, value))
            if step in (0, last):
                ascent.mark(0 if step == 0 else 1)
            ascent.at = mover.move(ascent, value, gradient, better, step)
        attempt.gradients[rows] += len(block)
        left = (~ascent.fails).nonzero().squeeze(1)
        if len(left) < len(rows):
            _record(attempt, late, rows, ascent)
            rows, ascent, mover = rows[left], ascent.take(left), mover.take(left)
        if not len(rows):
            return attempt
    with torch.no_grad():
        verdict = ascent.objective(ascent.region.complete(ascent.at))
        ascent.keep(verdict.fails, _rank(verdict, ascent.loss(verdict).float()))
    _record(attempt, late, rows, ascent)
    return attempt


def _rank(verdict: Verdict, value: Tensor) -> Tensor:
    """By what iterates are compared, (B,): the loss, or how low the score of a graded answer is."""
    return value if verdict.scores is None else torch.where(value.isnan(), value, -verdict.scores.float())


def _record(attempt: Attempt, late: Tensor, rows: Tensor, ascent: Ascent) -> None:
    refuse_nan(ascent.broken)
    for name, x in ascent.best.items():
        attempt.inputs[name] = attempt.inputs[name].index_copy(0, rows, x)
    attempt.fails[rows] = ascent.fails
    late[rows] = ascent.late
