"""Which wrong classes are nearest: the linearised distance of DeepFool (Moosavi-Dezfooli et al., CVPR 2016), ranges kept.

For class j with margin_j < 0 at the clean input, a first-order step reaches the boundary at the strength t at which
Σ_m h_m,j(t · r_m) = -margin_j, h_m,j what changes of modality m in its ball and range add to the margin at most. The largest
margin need not be the nearest class: all classes are looked at while they are few; of many, those that random changes
of the inputs, which cost forward passes only, make likely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attacks.draws import signs
from attacks.objective import Objective, Toward, judged_gradient, refuse_nan
from attacks.region import Region
from attacks.scenario import Ball, Scenario

FEW = 12  # classes whose gradients are all looked at, and the most of many that one scenario looks at
PROBES = 8  # random changes of each modality that rank many classes
PROBED = 4.0  # their size, as a strength
SURE = 0.6  # what is left of a likely distance in the worst case: a class that is farther even so than the nearest known is not looked at
GRID = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)  # strengths at which h and its rate are known; between two of them both bound it


@dataclass(frozen=True, eq=False)
class Nearby:
    """The classes nearest to each sample, nearest first.

    Attributes:
        classes: int64 (B, n).
        distance: the strength at which each is reached, to first order, float64 (B, n); inf where nothing in range does.
    """

    classes: Tensor
    distance: Tensor


@dataclass(eq=False)
class Aims:
    """The nearest classes of one batch, in every scenario that attacks some of the balls.

    One gradient serves all of them: what a class's margin gains in each ball is kept, sample by sample.

    Attributes:
        region: with the ranges of every modality that is attacked somewhere; its scenario's balls are not used.
        balls: those with a norm.
    """

    objective: Objective
    region: Region
    balls: Sequence[Ball]
    samples: Sequence[str]
    seed: int
    _looks: list[_Look] = field(default_factory=list)
    _likely: dict[Ball, Tensor] = field(default_factory=dict)
    _margins: Tensor | None = None

    def nearest(self, scenario: Scenario, rows: Tensor, wanted: int) -> tuple[Nearby | None, Tensor]:
        """The classes an attack on these rows, int64 (R,), should aim at.

        Returns:
            up to `wanted` classes of each, or None where the objective is no classifier; and the gradient evaluations
            spent on each row, int64 (R,).
        """
        spent = torch.zeros_like(rows)
        margins = self._known_margins()
        if margins is None or not wanted or not len(rows):
            return None, spent
        likely = self._likely_distance(scenario, margins)[rows]
        nearest = torch.full(rows.shape, float("inf"), dtype=torch.float64, device=rows.device)
        for look in self._looks:
            likely, nearest = self._seen(look, scenario, rows, likely, nearest)
        for _ in range(min(FEW, margins.shape[1] - 1)):
            distance, chosen = likely.min(1)
            asked = (distance.isfinite() & (SURE * distance < nearest)).nonzero().squeeze(1)
            if not len(asked):
                break
            look = self._look(rows[asked], chosen[asked], margins)
            spent[asked] += 1
            self._looks.append(look)
            likely, nearest = self._seen(look, scenario, rows, likely, nearest)
        distances = torch.stack([look.distance(scenario)[rows] for look in self._looks], 1)
        classes = torch.stack([look.classes[rows] for look in self._looks], 1)
        order = distances.argsort(dim=1, stable=True)[:, :wanted]
        classes, distances = classes.gather(1, order), distances.gather(1, order)
        return Nearby(torch.where(classes < 0, classes[:, :1], classes), distances), spent  # a row may have looked at fewer than others

    def _known_margins(self) -> Tensor | None:
        if self._margins is None:
            with torch.no_grad():
                self._margins = self.objective(self.region.inputs).margins
            if self._margins is not None:
                refuse_nan(self._margins.isnan().any(1))
        return self._margins

    def _seen(self, look: _Look, scenario: Scenario, rows: Tensor, likely: Tensor, nearest: Tensor) -> tuple[Tensor, Tensor]:
        """The same without the classes that were looked at."""
        classes = look.classes[rows]
        known = (classes >= 0)[:, None] & (torch.arange(likely.shape[1], device=rows.device) == classes[:, None])
        return likely.masked_fill(known, float("inf")), torch.minimum(nearest, look.distance(scenario)[rows])

    def _look(self, rows: Tensor, classes: Tensor, margins: Tensor) -> _Look:
        """One gradient evaluation of the rows."""
        region = self.region.take(rows)
        _, _, gradient = judged_gradient(self.objective.take(rows), region, region.clean, Toward(classes))
        gains = {ball: region.gains(ball, gradient[ball.modality], GRID) for ball in self.balls}
        return _Look.of(len(self.region), rows, classes, -margins[rows].gather(1, classes[:, None]).squeeze(1), gains)

    def _likely_distance(self, scenario: Scenario, margins: Tensor) -> Tensor:
        """How far each class is likely to be, float64 (B, K): inf the right one; where classes are few, 0 the others."""
        away = (-margins).double()
        if margins.shape[1] - 1 <= FEW:
            return torch.where(away.isinf(), away, 0.0)
        slope = sum(self._probed(ball, margins) for ball in scenario.attacked if ball.has_norm)
        return away.clamp_min(0) / torch.as_tensor(slope).clamp_min(torch.finfo(torch.float64).tiny)

    def _probed(self, ball: Ball, margins: Tensor) -> Tensor:
        """About how fast each class's margin can rise with the strength, float64 (B, K), from random changes of one modality.

        The mean square of ⟨∇, v⟩ over random signs v is ‖∇‖₂², and of a ∇ of n normal values the dual norms follow from it.
        """
        if ball not in self._likely:
            x, valid = self.region.inputs[ball.modality], self.region.ranges[ball.modality]
            count = x[0].numel()
            smaller, dual = {
                "linf": (1.0, math.sqrt(2 * count / math.pi)),
                "l2": (count**-0.5, 1.0),
                "l1": (1 / count, math.sqrt(2 * math.log(2 * count) / count)),
            }[ball.norm_name]
            squares = torch.zeros_like(margins, dtype=torch.float64)
            for probe in range(PROBES):
                moved = valid.clamp(x + PROBED * ball.radius * smaller * signs(x, self.samples, self.seed, ball.modality, probe))
                with torch.no_grad():
                    there = self.objective(self.region.complete({**self.region.clean, ball.modality: moved})).margins
                assert there is not None, "it was a classifier a moment ago"
                squares += torch.nan_to_num(there - margins).double().square()
            self._likely[ball] = (squares / PROBES).sqrt() * dual / (PROBED * smaller)
        return self._likely[ball]


@dataclass(frozen=True, eq=False)
class _Look:
    """What the gradient of one class's margin says, for each sample of a batch; class -1 where it was not asked for.

    Attributes:
        classes: int64 (B,).
        needed: what the margin lacks, float64 (B,).
        gains: of every ball, what it adds at the strengths of the grid, and how fast that grows, float64 (B, 2, grid).
    """

    classes: Tensor
    needed: Tensor
    gains: dict[Ball, Tensor]

    @staticmethod
    def of(count: int, rows: Tensor, classes: Tensor, needed: Tensor, gains: dict[Ball, Tensor]) -> _Look:
        def spread(values: Tensor, fill: float) -> Tensor:
            return torch.full((count, *values.shape[1:]), fill, dtype=values.dtype, device=rows.device).index_copy(0, rows, values)

        return _Look(spread(classes, -1), spread(needed.double(), 0.0), {ball: spread(each, 0.0) for ball, each in gains.items()})

    def distance(self, scenario: Scenario) -> Tensor:
        """The strength at which the gains make up for what is lacking, float64 (B,): inf where nothing does."""
        gains = torch.stack([self.gains[ball] for ball in scenario.attacked if ball.has_norm]).sum(0)
        return torch.where(self.classes >= 0, _root(self.needed, gains[:, 0], gains[:, 1]), float("inf"))


def _root(needed: Tensor, gain: Tensor, rate: Tensor) -> Tensor:
    """Where a concave function, known with its rates on the grid, (B, grid), reaches a value (B,); half way between its bounds."""
    grid = torch.tensor(GRID, dtype=gain.dtype, device=gain.device)
    place = (gain < needed[:, None]).sum(1)
    left = (place - 1).clamp_min(0)
    right = place.clamp(max=len(GRID) - 1)

    def at(values: Tensor, index: Tensor) -> Tensor:
        return values.gather(1, index[:, None]).squeeze(1)

    lacking = (needed - at(gain, left)).clamp_min(0)
    from_left = grid[left] + torch.where(lacking > 0, lacking / at(rate, left), 0.0)
    from_right = grid[right] - (at(gain, right) - needed) / at(rate, right)
    chord = grid[left] + lacking * (grid[right] - grid[left]) / (at(gain, right) - at(gain, left))
    lower = torch.maximum(from_left, torch.nan_to_num(from_right, nan=0.0))
    return torch.where(place == 0, 0.0, torch.where(place == len(GRID), from_left, (lower + chord) / 2))
