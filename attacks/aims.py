"""Which wrong class is nearest: the linearised distance of DeepFool (Moosavi-Dezfooli et al., CVPR 2016).

For class j with margin_j < 0 at the clean input, a first-order step reaches the boundary at strength
-margin_j / Σ_m r_m ‖∇_m margin_j‖_dual. Exact for a linear model with unbounded inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from attacks.objective import Objective, Toward, judged_gradient
from attacks.region import Region
from attacks.scenario import Ball, Scenario

CANDIDATES = 6  # classes looked at, by their margin


@dataclass(frozen=True, eq=False)
class Nearby:
    """The classes nearest to each sample, nearest first.

    Attributes:
        classes: int64 (B, n).
        distance: the strength at which each is reached, to first order, (B, n).
    """

    classes: Tensor
    distance: Tensor


@dataclass(eq=False)
class Aims:
    """The nearest classes of one batch, whatever is attacked.

    A class's slope in one modality serves every scenario that attacks it in the same norm: the slopes found
    for single modalities are kept, and larger scenarios cost no gradients.
    """

    _duals: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def nearest(self, objective: Objective, region: Region, wanted: int) -> tuple[Nearby | None, int]:
        """The classes an attack should aim at, nearest first, for the same samples at every call.

        Returns:
            up to `wanted` classes, or None where the objective is no classifier; and the gradient evaluations
            spent on each sample.
        """
        with torch.no_grad():
            margins = objective(region.inputs).margins
        if margins is None or not wanted:
            return None, 0
        candidates = margins.topk(min(CANDIDATES, margins.shape[1] - 1), dim=1).indices
        unknown = [ball for ball in region.scenario.attacked if (ball.modality, ball.norm_name) not in self._duals]
        for ball in unknown:
            self._duals[ball.modality, ball.norm_name] = _duals(objective, region, ball, candidates)
        slope = torch.stack([ball.radius * self._duals[ball.modality, ball.norm_name] for ball in region.scenario.attacked]).sum(0)
        distances = -margins.gather(1, candidates) / slope.clamp_min(torch.finfo(slope.dtype).tiny)
        order = distances.argsort(dim=1, stable=True)[:, :wanted]
        return Nearby(candidates.gather(1, order), distances.gather(1, order)), len(unknown) * candidates.shape[1]


def _duals(objective: Objective, region: Region, ball: Ball, candidates: Tensor) -> Tensor:
    """‖∇_m margin_j‖_dual for every candidate class j, (B, candidates)."""
    alone = Region(region.inputs, {ball.modality: region.ranges[ball.modality]}, Scenario((ball,), region.scenario.missing))
    gradients = (judged_gradient(objective, alone, alone.clean, Toward(classes))[2] for classes in candidates.unbind(1))
    return torch.stack([ball.norm.dual(gradient[ball.modality]) for gradient in gradients], dim=1)
