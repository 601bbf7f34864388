"""Graded answers under attack: the Pareto front of strength and score, and what fails at each
threshold.

A search looks for one threshold. On the way it meets changes that fail at another threshold, or
that lower the score at a strength at which no threshold is reached. All of these are kept: for each
sample and scenario at most `POINTS` pairs (strength, score) of which no pair is better than
another, each with its tally; and for each threshold the smallest strength with its witness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from attacks.objective import Verdict
from attacks.region import Inputs, Region, take
from attacks.scenario import Scenario
from attacks.search_state import Found, SearchState
from attacks.verify import verify
from harness.engine.judged import checked_tally, held_as, listed
from harness.engine.objective import TaskObjective

POINTS = 16  # of the front of a sample
WARM = "a search of another threshold"


@dataclass(eq=False)
class Front:
    """The front of each sample of a batch: strengths rise and scores fall.

    Attributes:
        strength: float64 (B, POINTS), inf where there is no point.
        score: float64 (B, POINTS).
        tally: (B, POINTS, T), in the type of `held_as`.
        untouched: the score of each sample with nothing missing, (B,); points of no lower score are
            left out.
    """

    strength: Tensor
    score: Tensor
    tally: Tensor
    untouched: Tensor

    @staticmethod
    def empty(untouched: Tensor, width: int) -> Front:
        free = torch.full((len(untouched), POINTS), float("inf"), dtype=torch.float64)
        tally = torch.zeros(len(untouched), POINTS, width, dtype=held_as(width))
        return Front(free, torch.ones_like(free), tally, untouched.cpu())

    def add(self, rows: Tensor, strength: Tensor, score: Tensor, tally: Tensor) -> None:
        """Take in one point for each of these rows (R,), each named once."""
        strengths = torch.cat([self.strength[rows], strength[:, None]], 1)
        scores = torch.cat([self.score[rows], score[:, None]], 1)
        tallies = torch.cat([self.tally[rows], tally[:, None]], 1)
        order = _order(strengths, scores, self.untouched[rows])
        self.strength[rows], self.score[rows] = strengths.gather(1, order), scores.gather(1, order)
        self.tally[rows] = tallies.gather(1, order[..., None].expand(-1, -1, tallies.shape[2]))
        dominated = _dominated(self.score[rows], self.untouched[rows])
        self.strength[rows] = self.strength[rows].masked_fill(dominated, float("inf"))

    def lacks(self, rows: Tensor, strength: Tensor, score: Tensor) -> Tensor:
        """Whether no known point of each row (R,) is as good as this one, bool (R,)."""
        as_good = (self.strength[rows] <= strength[:, None]) & (self.score[rows] <= score[:, None])
        return ~as_good.any(1) & (score < self.untouched[rows])

    def points(self, row: int) -> list[tuple[float, float, Any]]:
        """Strength, score and tally of the points of a sample, from weak to strong."""
        there = self.strength[row].isfinite().nonzero().squeeze(1)
        order = there[self.strength[row][there].argsort()]
        found = self.strength[row, order].tolist(), self.score[row, order].tolist(), listed(self.tally[row, order])
        return list(zip(*found, strict=True))


def _order(strength: Tensor, score: Tensor, untouched: Tensor) -> Tensor:
    """The places of the `POINTS` points to keep of one more, by strength: dominated ones go first,
    then the one without which the curve changes least.
    """
    order = score.argsort(dim=1, stable=True)
    order = order.gather(1, strength.gather(1, order).argsort(dim=1, stable=True))
    strength, score = strength.gather(1, order), score.gather(1, order)
    strength = strength.masked_fill(_dominated(score, untouched), float("inf"))
    resorted = strength.argsort(dim=1, stable=True)
    order, strength, score = order.gather(1, resorted), strength.gather(1, resorted), score.gather(1, resorted)
    lost = (score[:, :-2] - score[:, 1:-1]) * (strength[:, 2:] - strength[:, 1:-1])
    worst = lost.nan_to_num(nan=0.0, posinf=float("inf")).argmin(1, keepdim=True) + 1
    worst = torch.where(strength[:, -1:].isinf(), strength.shape[1] - 1, worst)
    kept = torch.arange(POINTS).expand(len(order), -1)
    return order.gather(1, kept + (kept >= worst))


def _dominated(score: Tensor, untouched: Tensor) -> Tensor:
    """Which points, sorted by strength, have one before them that is no worse, bool."""
    before = torch.cat([untouched[:, None], score.cummin(1).values[:, :-1]], 1)
    before = torch.minimum(before, untouched[:, None])
    worse: Tensor = score >= before
    return worse


class _Anything:
    """An objective that every change fails, so verification checks the change alone."""

    def __call__(self, inputs: Inputs) -> Verdict:
        count = len(next(iter(inputs.values())))
        return Verdict({}, torch.ones(count, dtype=torch.bool, device=next(iter(inputs.values())).device))

    def take(self, rows: Tensor) -> _Anything:
        return self

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> _Anything:
        return self


@dataclass(eq=False)
class Watcher:
    """Keeps the changes that searches of one scenario meet, for all thresholds.

    Attributes:
        objective: without a floor.
        floors: per threshold, the score (B,) below which a sample has failed.
        best: per threshold, the smallest strength known at which each sample fails.
        searches: how many have begun.
    """

    scenario: Scenario
    region: Region
    objective: TaskObjective
    floors: Mapping[float, Tensor]
    front: Front
    best: dict[float, Found] = field(default_factory=dict)
    searches: int = 0

    @property
    def first(self) -> bool:
        """Whether the present search of this scenario is the first."""
        return self.searches < 2

    @staticmethod
    def of(
        scenario: Scenario,
        region: Region,
        objective: TaskObjective,
        floors: Mapping[float, Tensor],
        untouched: Tensor,
    ) -> Watcher:
        """A new watcher: it has seen only the untouched inputs, with the scenario's missing
        modalities.
        """
        with torch.no_grad():
            outputs = objective.outputs(region.inputs)
            width = checked_tally(objective.task.problem.tally(outputs, objective.targets), len(outputs)).shape[1]
        watcher = Watcher(scenario, region, objective, floors, Front.empty(untouched, width))
        rows = torch.arange(len(untouched), device=untouched.device)
        watcher.observe(rows, torch.zeros_like(untouched), region.inputs)
        return watcher

    def begin(self, state: SearchState) -> None:
        """Propose the known changes that fail."""
        self.searches += 1
        for found in self.best.values():
            rows = found.strength.isfinite().nonzero().squeeze(1)
            if len(rows):
                attacked = {name: found.witness[name][rows] for name in self.region.ranges}
                with torch.no_grad():
                    fails = state.objective.take(rows)(take(found.witness, rows)).fails
                state.propose(rows[fails], take(attacked, fails.nonzero().squeeze(1)), WARM)

    @torch.no_grad()
    def observe(self, rows: Tensor, strength: Tensor, inputs: Inputs) -> None:
        """Judge full inputs (R, ...) of these rows, changed by strengths (R,), and keep them."""
        region = self.region.take(rows)
        sound = verify(_Anything(), region.inputs, inputs, region.ranges, self.scenario, strength)
        right = sound.nonzero().squeeze(1)
        if not len(right):
            return
        rows, strength, inputs = rows[right], strength[right], take(inputs, right)
        objective, problem = self.objective.take(rows), self.objective.task.problem
        outputs = objective.outputs(inputs)
        score = problem.score(outputs, objective.targets).double()
        new = self.front.lacks(rows.cpu(), strength.cpu(), score.cpu()).nonzero().squeeze(1).to(rows.device)
        if len(new):  # a tally may cost more than an answer
            tally = problem.tally(outputs[new], objective.targets[new]).to("cpu", self.front.tally.dtype)
            self.front.add(rows[new].cpu(), strength[new].cpu(), score[new].cpu(), tally)
        for threshold, floor in self.floors.items():
            fails = objective.below(floor[rows]).judged(outputs).fails
            self._improve(threshold, rows, strength, inputs, fails)

    def _improve(self, threshold: float, rows: Tensor, strength: Tensor, inputs: Inputs, fails: Tensor) -> None:
        known = self.best.get(threshold)
        if known is None:
            nothing = torch.full((len(self.region),), float("inf"), dtype=torch.float64, device=rows.device)
            none = torch.zeros_like(nothing, dtype=torch.int64)
            known = Found(nothing, self.region.inputs, [], none, none)
        better = (fails & (strength < known.strength[rows])).nonzero().squeeze(1)
        chosen = rows[better]
        witness = {name: x.index_copy(0, chosen, inputs[name][better]) for name, x in known.witness.items()}
        known.strength[chosen] = strength[better]
        self.best[threshold] = replace(known, witness=witness)

    def inherit(self, smaller: Watcher) -> None:
        """Take over the changes of a smaller scenario: they are allowed here, too, at the same
        strength.
        """
        rows = torch.arange(len(self.front.strength))
        for place in range(POINTS):
            there = smaller.front.strength[:, place].isfinite()
            self.front.add(
                rows[there],
                smaller.front.strength[there, place],
                smaller.front.score[there, place],
                smaller.front.tally[there, place],
            )
        for threshold, found in smaller.best.items():
            fails = found.strength.isfinite()
            some = fails.nonzero().squeeze(1)
            self._improve(threshold, some, found.strength[some], take(found.witness, some), fails[some])


def hand_up(watchers: Sequence[Watcher]) -> None:
    """Pass on the changes from smaller scenarios; scenarios come from small to large."""
    for place, watcher in enumerate(watchers):
        for smaller in watchers[:place]:
            if smaller.scenario < watcher.scenario:
                watcher.inherit(smaller)
