"""Which wrong class is nearest: the linearised distance of DeepFool (Moosavi-Dezfooli et al., CVPR 2016).

For class j with margin_j < 0 at the clean input, a first-order step reaches the boundary at strength
-margin_j / Σ_m r_m ‖∇_m margin_j‖_dual. Exact for a linear model with unbounded inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.objective import Objective, Toward, judged_gradient
from attacks.region import Region

CANDIDATES = 6  # classes looked at, by their margin


def nearest_classes(objective: Objective, region: Region, wanted: int) -> tuple[Tensor | None, int]:
    """The classes an attack should aim at, nearest first.

    Returns:
        int64 (B, up to `wanted`), or None where the objective is no classifier; and the gradient
        evaluations spent on each sample.
    """
    with torch.no_grad():
        margins = objective(region.inputs).margins
    if margins is None or not wanted:
        return None, 0
    count = min(CANDIDATES, margins.shape[1] - 1)
    candidates = margins.topk(count, dim=1).indices
    distances = torch.stack([_linear_strength(objective, region, classes) for classes in candidates.unbind(1)], dim=1)
    order = distances.argsort(dim=1, stable=True)[:, :wanted]
    return candidates.gather(1, order), count


def _linear_strength(objective: Objective, region: Region, classes: Tensor) -> Tensor:
    _, margin, gradient = judged_gradient(objective, region, region.clean, Toward(classes))
    slope = sum(ball.radius * ball.norm.dual(gradient[ball.modality]) for ball in region.scenario.attacked)
    return -margin / torch.as_tensor(slope).clamp_min(torch.finfo(margin.dtype).tiny)
