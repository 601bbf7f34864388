"""APGD: PGD with momentum that halves its own steps (Croce & Hein, ICML 2020), over several
modalities at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.ascent import Ascent, Attempt, ascend
from attacks.objective import Loss, Objective
from attacks.region import Inputs, Region, select, take

MOMENTUM = 0.75  # α of the paper
ENOUGH = 0.75  # ρ: a step length is kept if so many of its steps raised the loss
FIRST_CHECK, LESS_EACH_TIME, SHORTEST = 0.22, 0.03, 0.06  # where step lengths are reconsidered, as shares of the steps


def checkpoints(steps: int) -> list[int]:
    """The steps after which lengths are reconsidered: w_j = ⌈p_j N⌉, p_0 = 0, p_1 = .22, then gaps
    shrinking by .03 to .06.
    """
    share, gap, found = FIRST_CHECK, FIRST_CHECK, []
    while share < 1:
        found.append(max(1, math.ceil(round(share * steps, 6))))
        gap = max(gap - LESS_EACH_TIME, SHORTEST)
        share += gap
    return sorted({each for each in found if each < steps})


@dataclass(eq=False)
class _Adaptive:
    """The state of APGD for each sample; lengths are in units of strength."""

    checks: list[int]
    length: Tensor
    before: Inputs
    best_gradient: Inputs
    last_value: Tensor
    raised: Tensor
    checked_best: Tensor
    kept_length: Tensor

    @staticmethod
    def begin(region: Region, strength: Tensor, steps: int) -> _Adaptive:
        ones, no = torch.ones_like(strength), torch.zeros_like(strength, dtype=torch.bool)
        lowest = torch.full_like(strength, float("-inf"), dtype=torch.float32)
        nothing = {name: torch.zeros_like(x) for name, x in region.clean.items()}
        return _Adaptive(checkpoints(steps), 2 * strength, {}, nothing, lowest, 0 * ones, lowest, no)

    def move(self, ascent: Ascent, value: Tensor, gradient: Inputs, better: Tensor, step: int) -> Inputs:
        region = ascent.region
        self.best_gradient = select(better, gradient, self.best_gradient)
        self.raised = self.raised + (value > self.last_value)
        self.last_value = value
        at = ascent.at
        if step in self.checks:
            at, gradient = self._reconsider(ascent, gradient, step)
        ahead = region.step(at, gradient, self.length, ascent.strength)
        if step:
            ahead = region.project(
                {
                    n: torch.lerp(x, ahead[n], MOMENTUM).add_(x - self.before[n], alpha=1 - MOMENTUM)
                    for n, x in at.items()
                },
                ascent.strength,
            )
        self.before = at
        return ahead

    def _reconsider(self, ascent: Ascent, gradient: Inputs, step: int) -> tuple[Inputs, Inputs]:
        """Halve the length and go back to the best where too few steps helped, or nothing has since
        the last check.
        """
        place = self.checks.index(step)
        taken = step - (self.checks[place - 1] if place else 0)
        stuck = ~self.kept_length & (ascent.value <= self.checked_best) if place else torch.zeros_like(self.kept_length)
        halve = (self.raised < ENOUGH * taken) | stuck
        self.length = torch.where(halve, self.length / 2, self.length)
        self.kept_length, self.checked_best, self.raised = halve, ascent.value, torch.zeros_like(self.raised)
        self.before = select(halve, ascent.best, self.before)
        return select(halve, ascent.best, ascent.at), select(halve, self.best_gradient, gradient)

    def take(self, rows: Tensor) -> _Adaptive:
        return _Adaptive(
            self.checks,
            self.length[rows],
            take(self.before, rows),
            take(self.best_gradient, rows),
            self.last_value[rows],
            self.raised[rows],
            self.checked_best[rows],
            self.kept_length[rows],
        )


def apgd(
    objective: Objective,
    region: Region,
    strength: Tensor | float,
    *,
    steps: int = 20,
    loss: Loss | None = None,
    start: Inputs | None = None,
) -> Attempt:
    """APGD (Croce & Hein, ICML 2020): momentum, and step lengths halved where they stop helping.

    Args:
        strength: t, shared or per sample (B,): ‖δ_m‖ ≤ t · r_m.
        steps: gradient evaluations.
        loss: the loss to raise; the objective's first loss if absent.
        start: the attacked modalities to start from; the clean inputs if absent.
    """
    limit = torch.as_tensor(strength, dtype=torch.float64, device=next(iter(region.inputs.values())).device).expand(
        len(region)
    )
    return ascend(objective, region, limit, _Adaptive.begin(region, limit, steps), steps=steps, loss=loss, start=start)
