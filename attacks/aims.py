"""Which wrong class is nearest: the linearised distance of DeepFool (Moosavi-Dezfooli et al., CVPR 2016).

For class j with margin_j < 0 at the clean input, a first-order step reaches the boundary at strength
-margin_j / Σ_m r_m ‖∇_m margin_j‖_dual. Exact for a linear model with unbounded inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

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
    for single modalities are kept, and larger scenarios cost no gradients. They are kept sample by sample: a model
    that does not answer twice alike may call other samples right the next time.
    """

    _candidates: _Kept = field(default_factory=lambda: _Kept({}))
    _slopes: dict[tuple[str, str], _Kept] = field(default_factory=dict)

    def nearest(self, objective: Objective, region: Region, rows: Tensor, wanted: int) -> tuple[Nearby | None, Tensor]:
        """The classes an attack should aim at, nearest first.

        Args:
            objective, region: of the whole batch.
            rows: the samples in question, int64 (R,).

        Returns:
            up to `wanted` classes of each of the rows, or None where the objective is no classifier; and the gradient
            evaluations spent on each of them, int64 (R,).
        """
        asked, spent = objective.take(rows), torch.zeros_like(rows)
        with torch.no_grad():
            margins = asked(region.take(rows).inputs).margins
        if margins is None or not wanted:
            return None, spent
        likely = margins.topk(min(CANDIDATES, margins.shape[1] - 1), dim=1).indices
        candidates = self._candidates.filled(rows, lambda new: likely[new])
        slopes = []
        for ball in region.scenario.attacked:
            kept = self._slopes.setdefault((ball.modality, ball.norm_name), _Kept({}))
            spent[kept.lacking(rows)] += candidates.shape[1]
            found = partial(_duals_of, asked, region, ball, rows, candidates)
            slopes.append(ball.radius * kept.filled(rows, found))
        slope = torch.stack(slopes).sum(0)
        distances = -margins.gather(1, candidates) / slope.clamp_min(torch.finfo(slope.dtype).tiny)
        order = distances.argsort(dim=1, stable=True)[:, :wanted]
        return Nearby(candidates.gather(1, order), distances.gather(1, order)), spent


@dataclass(frozen=True, eq=False)
class _Kept:
    """A row of numbers for each sample of a batch, once it is known."""

    by_row: dict[int, Tensor]

    def lacking(self, rows: Tensor) -> Tensor:
        """The places in `rows` of the samples that nothing is known of."""
        places = [place for place, row in enumerate(rows.tolist()) if row not in self.by_row]
        return torch.tensor(places, dtype=torch.int64, device=rows.device)

    def filled(self, rows: Tensor, found: Callable[[Tensor], Tensor]) -> Tensor:
        """The numbers of the rows (R, n), what is lacking found first."""
        if len(new := self.lacking(rows)):
            self.by_row.update(zip(rows[new].tolist(), found(new), strict=True))
        return torch.stack([self.by_row[row] for row in rows.tolist()])


def _duals_of(asked: Objective, region: Region, ball: Ball, rows: Tensor, candidates: Tensor, new: Tensor) -> Tensor:
    """`_duals` at some places of the rows that an objective is asked about."""
    return _duals(asked.take(new), region.take(rows[new]), ball, candidates[new])


def _duals(objective: Objective, region: Region, ball: Ball, candidates: Tensor) -> Tensor:
    """‖∇_m margin_j‖_dual for every candidate class j, (B, candidates)."""
    alone = Region(region.inputs, {ball.modality: region.ranges[ball.modality]}, Scenario((ball,), region.scenario.missing))
    gradients = (judged_gradient(objective, alone, alone.clean, Toward(classes))[2] for classes in candidates.unbind(1))
    return torch.stack([ball.norm.dual(gradient[ball.modality]) for gradient in gradients], dim=1)
