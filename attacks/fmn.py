"""FMN: fast minimum-norm attack (Pintor et al., NeurIPS 2021), in the gauge of several modalities
at once.

The gauge max_m ‖δ_m‖ / r_m makes a minimum-norm search over several modalities a search over one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.objective import Loss, Named, Objective, judged_gradient, refuse_nan
from attacks.region import Inputs, Region, select

LENGTHS = (1.0, 0.01)  # of a step, as shares of the strength, first and last
SHRINKS = (0.1, 0.001)  # by how much the allowed strength changes in a step, first and last


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest failure that a minimum-norm attack met.

    Attributes:
        inputs: the attacked modalities there; the start where none failed.
        fails: whether one was met, bool (B,).
        gradients: gradient evaluations spent on each sample.
    """

    inputs: Inputs
    fails: Tensor
    gradients: int


def fmn(
    objective: Objective,
    region: Region,
    limit: float,
    *,
    steps: int = 40,
    loss: Loss | None = None,
    start: Inputs | None = None,
) -> Nearest:
    """FMN (Pintor et al., NeurIPS 2021): walk along the boundary, shrinking the allowed strength
    where the sample fails.

    Until a sample has failed once, its allowed strength is where the linearised loss reaches zero.

    Args:
        limit: the largest strength of interest.
        steps: gradient evaluations.
        loss: negative exactly where a sample withstands; the objective's margin if absent.
        start: the attacked modalities to start from; the clean inputs if absent.

    Raises:
        ModelBroke: the model answers NaN.
    """
    loss = loss or Named("margin")
    at = start or region.clean
    best, nearest = at, torch.full((len(region),), float("inf"), device=next(iter(at.values())).device)
    allowed, broken = torch.full_like(nearest, limit), torch.zeros_like(nearest, dtype=torch.bool)
    for step in range(steps + 1):
        share = (1 + math.cos(math.pi * step / steps)) / 2
        length, shrink = (last + (first - last) * share for first, last in (LENGTHS, SHRINKS))
        verdict, value, gradient = judged_gradient(objective, region, at, loss)
        size = region.gauge(at, torch.float32)
        nearer = verdict.fails & (size < nearest)
        best, nearest = select(nearer, at, best), torch.where(nearer, size, nearest)
        broken = broken | value.isnan()
        if step:
            reached = size + (-value).clamp_min(0) / region.slope(at, gradient).clamp_min(
                torch.finfo(torch.float32).tiny
            )
        else:
            reached = region.reach(region.needed(at, value, gradient), gradient).float()
        # a little beyond, as on the boundary rounding decides
        outside = torch.where(nearest.isinf(), reached, allowed) * (1 + shrink)
        allowed = torch.where(verdict.fails, torch.minimum(allowed, nearest) * (1 - shrink), outside).clamp(max=limit)
        at = region.step(at, gradient, (allowed * length).double(), allowed.double())
    refuse_nan(broken)
    return Nearest(best, nearest.isfinite(), steps + 1)
