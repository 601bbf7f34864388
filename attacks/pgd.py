"""PGD: projected gradient ascent inside a ball (Madry et al., ICLR 2018), over several modalities at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.objective import Loss, Objective, judged_gradient, named
from attacks.region import Inputs, Region, select


@dataclass(frozen=True, eq=False)
class Attempt:
    """What a fixed-strength attack reached.

    Attributes:
        inputs: the attacked modalities: the first iterate that fails, else the one of highest loss.
        fails: whether it fails, bool (B,).
        gradients: gradient evaluations spent on each sample.
    """

    inputs: Inputs
    fails: Tensor
    gradients: int


def pgd(
    objective: Objective,
    region: Region,
    strength: Tensor | float,
    *,
    steps: int = 20,
    loss: Loss | None = None,
    start: Inputs | None = None,
) -> Attempt:
    """Ascend `loss` over all attacked modalities together, each with its own strength.

    Every modality takes its own steepest step and is projected on its own ball, so radii are enforced
    modality by modality. The step length falls from the full radius to zero by a cosine. Iterates of
    the whole path are judged, the start and the last included.

    Args:
        strength: t, shared or per sample (B,): ‖δ_m‖ ≤ t · r_m.
        steps: gradient evaluations.
        loss: what to raise; the objective's cross-entropy if absent.
        start: the attacked modalities to start from; the clean inputs if absent.
    """
    loss = loss or named("cross_entropy")
    limit = torch.as_tensor(strength, dtype=torch.float64).expand(len(region)).to(next(iter(region.inputs.values())).device)
    at = region.project(start or region.clean, limit)
    best, fails, highest = at, None, torch.full_like(limit, float("-inf"))
    for step in range(steps):
        verdict, value, gradient = judged_gradient(objective, region.complete, at, loss)
        best, fails, highest = _keep(best, fails, highest, at, verdict.fails, value)
        if bool(fails.all()):
            return Attempt(best, fails, step + 1)
        length = limit * (1 + math.cos(math.pi * step / steps)) / 2
        at = region.step(at, gradient, length, limit)
    with torch.no_grad():
        verdict = objective(region.complete(at))
    best, fails, _ = _keep(best, fails, highest, at, verdict.fails, loss(verdict))
    return Attempt(best, fails, steps)


def _keep(best: Inputs, failed: Tensor | None, highest: Tensor, at: Inputs, fails: Tensor, loss: Tensor) -> tuple[Inputs, Tensor, Tensor]:
    """Best in path, with no regard to other rows: a failure is final, before it the highest loss counts."""
    before = torch.zeros_like(fails) if failed is None else failed
    better = ~before & (fails | (loss > highest))
    return select(better, at, best), before | fails, torch.where(better, loss.to(highest), highest)
