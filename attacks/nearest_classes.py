"""Which wrong classes are nearest: the linearised distance of DeepFool (Moosavi-Dezfooli et al.,
CVPR 2016), ranges kept.

For class j with margin_j < 0 at the clean input, a first-order step reaches the boundary at the
strength t at which Σ_m h_m,j(t · r_m) = -margin_j, where h_m,j is the most that changes of modality
m in its ball and range add to the margin. The class with the largest margin need not be the
nearest. Few classes are all checked. With many classes, only those are checked that random changes
of the inputs make likely; random changes cost forward passes only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attacks.objective import Objective, Toward, judged_gradient, refuse_nan
from attacks.region import Region
from attacks.sampling import signs
from attacks.scenario import Ball, Scenario

FEW = 12  # classes whose gradients are all looked at, and the most of many that one scenario looks at
PROBES = 8  # random changes of each modality that rank many classes
PROBED = 4.0  # their size, as a strength
# the share of a likely distance that remains in the worst case: a class that is even then farther
# than the nearest known is not looked at
SURE = 0.6
# Strengths at which h and its rate are known; between two of them both bound it.
GRID = (0.0, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0, 64.0)


@dataclass(frozen=True, eq=False)
class RankedClasses:
    """The classes nearest to each sample, nearest first.

    Attributes:
        classes: int64 (B, n).
        distance: the strength at which each is reached, to first order, float64 (B, n); inf where
            nothing in range does.
    """

    classes: Tensor
    distance: Tensor


@dataclass(eq=False)
class NearestClasses:
    """The nearest classes of one batch, in every scenario of modalities with these ranges.

    The gain of a class's margin in one ball holds for every scenario with that ball. It is computed
    with this modality alone and kept for each sample, so larger scenarios cost few gradients, and
    no result depends on other attacked modalities.

    Attributes:
        region: with the ranges of every modality that is attacked somewhere; its own scenario's
            balls are not used.
        balls: those with a norm.
    """

    objective: Objective
    region: Region
    balls: Sequence[Ball]
    samples: Sequence[str]
    seed: int
    _looks: dict[str, _Looks] = field(default_factory=dict)
    _slopes: dict[Ball, Tensor] = field(default_factory=dict)
    _margins: Tensor | None = None

    def nearest(self, scenario: Scenario, rows: Tensor, wanted: int) -> tuple[RankedClasses | None, Tensor]:
        """The classes an attack on these rows, int64 (R,), should aim at.

        Returns:
            up to `wanted` classes of each, or None if the objective is not a classifier; and the
                gradient evaluations
            spent on each row, int64 (R,).
        """
        spent, margins = torch.zeros_like(rows), self._known_margins()
        if margins is None or not wanted or not len(rows):
            return None, spent
        likely = self._likely_distance(scenario, margins)[rows]
        nearest = torch.full(rows.shape, float("inf"), dtype=torch.float64, device=rows.device)
        classes: list[Tensor] = []
        distances: list[Tensor] = []
        for _ in range(min(FEW, margins.shape[1] - 1)):
            distance, chosen = likely.min(1)
            checked = (distance.isfinite() & (SURE * distance < nearest)).nonzero().squeeze(1)
            if not len(checked) and classes:
                break
            found = torch.full_like(nearest, float("inf"))
            needed = -margins[rows[checked], chosen[checked]].double()
            found[checked] = _root(needed, *self._gained(scenario, rows, checked, chosen[checked], spent).unbind(1))
            likely[checked, chosen[checked]] = float("inf")
            nearest = torch.minimum(nearest, found)
            classes.append(chosen)
            distances.append(found)
        distance = torch.stack(distances, 1)
        order = distance.argsort(dim=1, stable=True)[:, :wanted]
        return RankedClasses(torch.stack(classes, 1).gather(1, order), distance.gather(1, order)), spent

    def _known_margins(self) -> Tensor | None:
        if self._margins is None:
            with torch.no_grad():
                self._margins = self.objective(self.region.inputs).margins
            if self._margins is not None:
                refuse_nan(self._margins.isnan().any(1))
        return self._margins

    def _gained(self, scenario: Scenario, rows: Tensor, checked: Tensor, classes: Tensor, spent: Tensor) -> Tensor:
        """The gains of the classes' margins at the strengths of the grid, and their slopes, for
        these rows, (n, 2, grid).
        """
        total = torch.zeros(len(checked), 2, len(GRID), dtype=torch.float64, device=rows.device)
        for ball in scenario.continuous.attacked:
            looks = self._of(ball.modality)
            lacking = looks.lacking(rows[checked], classes)
            if len(lacking):
                looks.look(self.region, rows[checked[lacking]], classes[lacking])
                spent[checked[lacking]] += 1
            total += looks.gains(ball, rows[checked], classes)
        return total

    def _of(self, name: str) -> _Looks:
        if name not in self._looks:
            balls, classes = [ball for ball in self.balls if ball.modality == name], self._known_margins()
            assert classes is not None, "only a classifier has classes to look at"
            slots = torch.full(classes.shape, -1, dtype=torch.int64, device=classes.device)
            self._looks[name] = _Looks(self.objective.holding(self.region.inputs, (name,)), name, balls, slots)
        return self._looks[name]

    def _likely_distance(self, scenario: Scenario, margins: Tensor) -> Tensor:
        """How far each class is likely to be, float64 (B, K): inf the right one; where classes are
        few, 0 the others.
        """
        away = (-margins).double()
        if margins.shape[1] - 1 <= FEW:
            return torch.where(away.isinf(), away, 0.0)
        slope = sum(self._probed(ball, margins) for ball in scenario.attacked if ball.has_norm)
        return away.clamp_min(0) / torch.as_tensor(slope).clamp_min(torch.finfo(torch.float64).tiny)

    def _probed(self, ball: Ball, margins: Tensor) -> Tensor:
        """About how fast each class's margin can rise with the strength, float64 (B, K), from
        random changes of one modality.

        The mean square of ⟨∇, v⟩ over random signs v is ‖∇‖₂², and of a ∇ of n normal values the
        dual norms follow from it.
        """
        if ball not in self._slopes:
            x, valid = self.region.inputs[ball.modality], self.region.ranges[ball.modality]
            count = x[0].numel()
            smaller, dual = {
                "linf": (1.0, math.sqrt(2 * count / math.pi)),
                "l2": (count**-0.5, 1.0),
                "l1": (1 / count, math.sqrt(2 * math.log(2 * count) / count)),
            }[ball.norm_name]
            squares = torch.zeros_like(margins, dtype=torch.float64)
            for probe in range(PROBES):
                moved = valid.clamp(
                    x + PROBED * ball.radius * smaller * signs(x, self.samples, self.seed, ball.modality, probe)
                )
                with torch.no_grad():
                    there = self.objective(self.region.complete({**self.region.clean, ball.modality: moved})).margins
                assert there is not None, "it was a classifier a moment ago"
                squares += torch.nan_to_num(there - margins).double().square()
            self._slopes[ball] = (squares / PROBES).sqrt() * dual / (PROBED * smaller)
        return self._slopes[ball]


@dataclass(eq=False)
class _Looks:
    """The gains that gradients in one modality give, for each sample of a batch and each checked
    class.

    Attributes:
        slots: the index of the look that has a class of a sample, int64 (B, K); -1 for none.
        found: the gains of every ball for each look, float64 (B, 2, grid).
    """

    objective: Objective
    name: str
    balls: Sequence[Ball]
    slots: Tensor
    found: list[dict[Ball, Tensor]] = field(default_factory=list)

    def lacking(self, rows: Tensor, classes: Tensor) -> Tensor:
        """Which of the rows have not been looked at with their class."""
        return (self.slots[rows, classes] < 0).nonzero().squeeze(1)

    def look(self, region: Region, rows: Tensor, classes: Tensor) -> None:
        """One gradient evaluation of the rows."""
        some = region.take(rows)
        _, _, gradient = judged_gradient(
            self.objective.take(rows), some, {self.name: some.inputs[self.name]}, Toward(classes)
        )
        found = {}
        for ball in self.balls:
            gains = some.gains(ball, gradient[self.name], GRID)
            found[ball] = torch.zeros(len(region), *gains.shape[1:], dtype=gains.dtype, device=gains.device).index_copy(
                0, rows, gains
            )
        self.slots[rows, classes] = len(self.found)
        self.found.append(found)

    def gains(self, ball: Ball, rows: Tensor, classes: Tensor) -> Tensor:
        """(n, 2, grid)."""
        return torch.stack([each[ball] for each in self.found])[self.slots[rows, classes], rows]


def _root(needed: Tensor, gain: Tensor, rate: Tensor) -> Tensor:
    """Where a concave function, known with its rates on the grid, (B, grid), reaches a value (B,);
    half way between its bounds.
    """
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
