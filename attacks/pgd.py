"""PGD: projected gradient ascent inside a ball (Madry et al., ICLR 2018), over several modalities
at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from attacks.ascent import Ascent, Attempt, ascend
from attacks.objective import Loss, Objective
from attacks.region import Inputs, Region


@dataclass(frozen=True)
class _Cosine:
    """Steps whose length falls from the full radius to zero by a cosine. They have no state."""

    steps: int

    def move(self, ascent: Ascent, value: Tensor, gradient: Inputs, better: Tensor, step: int) -> Inputs:
        length = ascent.strength * (1 + math.cos(math.pi * step / self.steps)) / 2
        return ascent.region.step(ascent.at, gradient, length, ascent.strength)

    def take(self, rows: Tensor) -> _Cosine:
        return self


def pgd(
    objective: Objective,
    region: Region,
    strength: Tensor | float,
    *,
    steps: int = 20,
    loss: Loss | None = None,
    start: Inputs | None = None,
) -> Attempt:
    """PGD (Madry et al., ICLR 2018): ascend over all attacked modalities together, each sample at
    its strength.

    Every modality takes its own steepest step and is projected on its own ball, so radii are
    enforced modality by modality. The step length falls from the full radius to zero by a cosine.

    Args:
        strength: t, shared or per sample (B,): ‖δ_m‖ ≤ t · r_m.
        steps: gradient evaluations.
        loss: the loss to raise; the objective's first loss if absent.
        start: the attacked modalities to start from; the clean inputs if absent.
    """
    return ascend(objective, region, strength, _Cosine(steps), steps=steps, loss=loss, start=start)
