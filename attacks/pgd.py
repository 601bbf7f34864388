"""PGD: projected gradient ascent inside a ball (Madry et al., ICLR 2018), over several modalities at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.objective import Loss, Named, Objective, judged_gradient
from attacks.region import Inputs, Region, take


@dataclass(frozen=True, eq=False)
class Attempt:
    """What a fixed-strength attack reached.

    Attributes:
        inputs: the attacked modalities: the first iterate that fails, else the one of highest loss.
        fails: whether it fails, bool (B,).
        gradients: gradient evaluations spent on each sample, int64 (B,).
    """

    inputs: Inputs
    fails: Tensor
    gradients: Tensor


def pgd(
    objective: Objective,
    region: Region,
    strength: Tensor | float,
    *,
    steps: int = 20,
    loss: Loss | None = None,
    start: Inputs | None = None,
) -> Attempt:
    """PGD (Madry et al., ICLR 2018): ascend over all attacked modalities together, each sample at its strength.

    Every modality takes its own steepest step and is projected on its own ball, so radii are enforced
    modality by modality. The step length falls from the full radius to zero by a cosine. Iterates of
    the whole path are judged, the start and the last included; a sample that fails leaves the batch.

    Args:
        strength: t, shared or per sample (B,): ‖δ_m‖ ≤ t · r_m.
        steps: gradient evaluations.
        loss: what to raise; the objective's cross-entropy if absent.
        start: the attacked modalities to start from; the clean inputs if absent.
    """
    device = next(iter(region.inputs.values())).device
    limit = torch.as_tensor(strength, dtype=torch.float64, device=device).expand(len(region))
    loss = loss or Named()
    at = region.project(start or region.clean, limit)
    best = _Best(dict(at), torch.zeros_like(limit, dtype=torch.bool), torch.full_like(limit, float("-inf")))
    spent, rows = torch.zeros_like(limit, dtype=torch.int64), torch.arange(len(region), device=device)
    for step in range(steps):
        verdict, value, gradient = judged_gradient(objective, region, at, loss)
        spent[rows] += 1
        best.keep(rows, at, verdict.fails, value)
        if bool(verdict.fails.any()):
            left = (~verdict.fails).nonzero().squeeze(1)
            if not len(left):
                return Attempt(best.inputs, best.fails, spent)
            rows, limit, at, gradient = rows[left], limit[left], take(at, left), take(gradient, left)
            objective, region, loss = objective.take(left), region.take(left), loss.take(left)
        length = limit * (1 + math.cos(math.pi * step / steps)) / 2
        at = region.step(at, gradient, length, limit)
    with torch.no_grad():
        verdict = objective(region.complete(at))
        best.keep(rows, at, verdict.fails, loss(verdict))
    return Attempt(best.inputs, best.fails, spent)


@dataclass(eq=False)
class _Best:
    """Best in path, sample by sample: a failure is final, before it the highest loss counts."""

    inputs: Inputs
    fails: Tensor
    highest: Tensor

    def keep(self, rows: Tensor, at: Inputs, fails: Tensor, loss: Tensor) -> None:
        better = (fails | (loss > self.highest[rows])).nonzero().squeeze(1)
        chosen = rows[better]
        self.inputs = {name: x.index_copy(0, chosen, at[name][better]) for name, x in self.inputs.items()}
        self.fails[chosen] = fails[better]
        self.highest[chosen] = loss[better].to(self.highest)
