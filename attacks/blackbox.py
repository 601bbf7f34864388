"""A search without gradients, over several modalities at once, from scores or from labels alone.

Every query calls the model at one change: a direction in the balls of the norms times a strength,
and an edit of each edited modality. Three ideas take turns:

- The margins at random directions around the clean input give a linear model of the margin
  (Kaczmarz's method). Its best change inside the balls is the first guess.
- A random window of one modality moves to the edge of its ball, as in Square (Andriushchenko et
  al., ECCV 2020), or to where the linear model wants it. It stays where the margin rises. After a
  series of moves, the linear model learns again around the best change.
- Where the sample fails, its strength falls along the direction as long as it keeps failing, as in
  RayS (Chen & Gu, KDD 2020). Then the search goes on a little below.

At the end, Square itself attacks the samples that withstand the radii as written: it goes farther
where the model has steps, as trees have. It finds little in sounds, and is left out there.

A model that gives labels alone has a margin that never rises, so only failures stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

import torch
from torch import Tensor

from attacks.blackbox_moves import chosen, pattern, unit_change, wave, with_window
from attacks.combine_single_modality import combine_single_modality
from attacks.edits import Ranked, Turn
from attacks.eot import draws_of, places_of
from attacks.errors import BadInput
from attacks.fixed_budget import STRENGTH, FixedBudget
from attacks.margin_model import NUMBERS as WAVES
from attacks.margin_model import Groups, MarginModel
from attacks.norms import per_sample
from attacks.objective import refuse_nan
from attacks.randomness import keyed_generator
from attacks.region import Inputs, Region, take
from attacks.scenario import Ball
from attacks.search_state import SearchState
from attacks.square import FIRST_SHARE, HALVINGS, square

LEARNING = 0.4  # the largest share of the queries that learn a linear model first; ...
PER_VALUE = 2.0  # ... and the largest number of them for each value that may change
MOVES, AGAIN = 0.25, 0.25  # of them learn again after as many moves
MOST_QUERIES = 200_000  # their random numbers are drawn at once
AS_WRITTEN = 0.2  # of the queries go to Square at the radii as written, for samples that withstand them
OUTWARDS = 2.0  # times the strength, while no failure is known
OPENING = 48  # queries at coarse patterns, where margins tell nothing
TIGHT = 1 - 1e-5  # of a strength: rounding may not take a change outside of it
FIRST = STRENGTH  # the strength that is tried first
BELOW, LEAST, MOST = 0.1, 1e-3, 0.5  # how far below the best known strength is searched, as a share of it
NEAREST = 1e-12  # the smallest strength of a query: a random model may fail at any, also at 0
PATIENCE = 40  # queries in vain after which that share is halved
SMALL = 0.3  # the size of a random direction that learns, as a share of the ball
GUIDED = 0.5  # the share of moves by the linear model; the others are waves
NUMBERS = 12  # random numbers of one query


class Phase(IntEnum):
    """What a query is for."""

    LEARN = 0  # a random direction around the best change so far
    FOLLOW = 1  # the best change of the linear model
    OPEN = 2  # a coarse pattern
    MOVE = 3  # a move of the best change so far
    SHRINK = 4  # the failing change at a smaller strength
    MEASURE = 5  # the margin of the best change so far at a new strength


@dataclass(frozen=True)
class BlackBox:
    """A search that needs no gradients, by a number of queries for every sample and scenario."""

    summary: ClassVar[str] = "A search without gradients, from scores or from labels alone, by queries of the model."
    gradients: ClassVar[bool] = False  # are not followed
    queries: int = 5000

    def __post_init__(self) -> None:
        if not 1 <= self.queries <= MOST_QUERIES:
            raise BadInput(f"search 'blackbox': option queries must be from 1 to {MOST_QUERIES:,}, not {self.queries}")

    @torch.no_grad()
    def __call__(self, state: SearchState) -> None:
        """Raises:
        BadInput: an edit is shared by a whole batch.
        ModelBroke: the model answers NaN.
        """
        for ball in state.region.scenario.edits:
            if ball.edit.shared:
                raise BadInput(f"{ball} needs gradients: leave it out, or name another search")
        if not state.region.scenario.edits:
            combine_single_modality(state)
        rows = (state.best.strength > 0).nonzero().squeeze(1)
        if not len(rows):
            return
        sounds = any(Groups(tuple(x.shape[1:])).sound for x in state.region.clean.values())
        last = 0 if state.region.scenario.edits or sounds else int(AS_WRITTEN * self.queries)
        walk = _Walk(state, rows, self.queries - last)
        for number in range(walk.queries):
            walk.query(number)
        state.query(rows, walk.queries * draws_of(state.fast))
        found = walk.best.isfinite().nonzero().squeeze(1)
        state.propose(rows[found], take(walk.witness, found), f"blackbox-{self.queries}")
        if last:
            withstood = (state.best.strength > FIRST).nonzero().squeeze(1)
            FixedBudget("square", square, {"steps": last})(state)
            state.query(withstood, last)


class _Walk:
    """The search of all rows in step: one query of each at a time.

    Attributes:
        best, witness: the smallest strength at which each row failed, and the inputs there.
        unit: the direction so far, of norm at most 1 in each ball, in units of its radius.
        edited: the edit so far.
        strength: at which the direction is queried.
        value: the margin there.
        model: the linear model of the margin, in units of the radii.
    """

    def __init__(self, state: SearchState, rows: Tensor, queries: int) -> None:
        self.rows, self.queries, self.most = rows, queries, state.limit
        self.region: Region = state.region.take(rows)
        self.objective = state.fast.take(rows)
        self.places = {name: place.take(rows) for name, place in places_of(state.fast, state.region).items()}
        self.balls = self.region.scenario.attacked
        self._draw([state.samples[row] for row in rows.tolist()], state.seed)
        self.best = state.best.strength[rows].clone()
        self.witness = {name: state.best.witness[name][rows].clone() for name in self.region.ranges}
        clean, known = self.region.clean, self.best.isfinite()
        self.unit = {
            ball.modality: unit_change(ball, self.witness[ball.modality] - clean[ball.modality])
            for ball in self.balls
            if ball.has_norm
        }
        self.edited = {ball.modality: self.witness[ball.modality].clone() for ball in self.balls if not ball.has_norm}
        self.below = torch.full_like(self.best, BELOW)
        self.step, self.limit = self.below.clone(), torch.full_like(self.best, state.limit * TIGHT)
        self.strength = torch.where(known, self._nearer(self.below), self.limit.clamp(max=FIRST * TIGHT))
        self.phase = torch.where(known, Phase.MEASURE, Phase.LEARN).long()
        self.value = self.objective(self.region.inputs).losses["margin"].double()
        self.lowest, self.highest = self.value.clone(), self.value.clone()
        self.at = dict(clean)
        self.model = MarginModel(clean)
        self.learning = max(1, min(int(LEARNING * queries), int(PER_VALUE * self.model.values)))
        self.left = torch.full_like(self.phase, self.learning)  # queries of this kind in a row
        self.vain = torch.zeros_like(self.phase)

    def _draw(self, samples: list[str], seed: int) -> None:
        key = (self.region.scenario.attacked_names, self.region.scenario.missing)
        generators = [keyed_generator("blackbox", seed, sample, key) for sample in samples]
        drawn = [torch.rand(self.queries, NUMBERS + WAVES, generator=each) for each in generators]
        self.draws = torch.stack(drawn).to(self.rows.device)
        self.fields = {
            name: torch.stack([torch.rand(x.shape[1:], generator=each) for each in generators]).to(x.device)
            for name, x in self.region.clean.items()
        }

    def query(self, number: int) -> None:
        """One query of every row, and what follows from it."""
        unit, edited = self._candidate(number)
        at = self._placed(unit, edited, number)
        verdict = self.objective(self.region.complete(at))
        fails, value = verdict.fails, verdict.losses["margin"].double()
        refuse_nan(value.isnan())
        self.lowest, self.highest = torch.minimum(self.lowest, value), torch.maximum(self.highest, value)
        self._learn(at, value)
        looking = (self.phase >= Phase.FOLLOW) & (self.phase <= Phase.MOVE)
        kept = fails | (looking & (value > self.value)) | (self.phase >= Phase.SHRINK)
        self._keep(kept, unit, edited, at, value)
        self._met(fails, at)
        self._stood(~fails, number)

    def _learn(self, at: Inputs, value: Tensor) -> None:
        learns = self.phase == Phase.LEARN
        if bool(learns.any()):
            changes = {
                ball.modality: (at[ball.modality] - self.at[ball.modality]) / self._scale(ball) for ball in self.balls
            }
            self.model.learn(learns, changes, value - self.value)

    def _keep(self, kept: Tensor, unit: Inputs, edited: Inputs, at: Inputs, value: Tensor) -> None:
        self.vain = torch.where(kept, 0, self.vain + 1)
        self.value = torch.where(kept, value, self.value)
        for own, new in ((self.unit, unit), (self.edited, edited), (self.at, at)):
            for name, x in own.items():
                own[name] = torch.where(per_sample(kept, x), new[name], x)

    def _met(self, fails: Tensor, at: Inputs) -> None:
        """The sample fails: its strength falls, faster as long as that goes well."""
        if not bool(fails.any()):
            return
        size = self.region.gauge(at)
        nearer = fails & (size < self.best) & (size <= self.most)
        self.best = torch.where(nearer, size, self.best)
        for name, x in self.witness.items():
            self.witness[name] = torch.where(per_sample(nearer, x), at[name], x)
        faster = torch.where(self.phase == Phase.SHRINK, (2 * self.step).clamp(max=MOST), self.below)
        self.step = torch.where(fails, faster, self.step)
        self.strength = torch.where(fails & self.best.isfinite(), self._nearer(self.step), self.strength)
        self.phase = torch.where(fails, Phase.SHRINK, self.phase)

    def _stood(self, stands: Tensor, number: int) -> None:
        """The sample withstands: choose the next query."""
        was, known = self.phase.clone(), self.best.isfinite()
        flat = self.lowest == self.highest
        self.left = torch.where(was <= Phase.MOVE, self.left - 1, self.left)
        over = stands & (self.left <= 0)
        too_far = stands & (was == Phase.SHRINK) & (self.step > self.below)
        self.step = torch.where(too_far, self.below, self.step)
        stuck = stands & known & (was == Phase.MOVE) & (self.vain >= PATIENCE)
        self.below = torch.where(stuck, (self.below / 2).clamp_min(LEAST), self.below)
        self.strength = torch.where(too_far | stuck, self._nearer(self.below), self.strength)
        back = stands & ~too_far & (was >= Phase.SHRINK)
        self.phase = torch.where(back, Phase.MOVE, self.phase)
        self._turn(over & (was == Phase.LEARN), Phase.FOLLOW)
        farther = stands & ~known & (was == Phase.FOLLOW) & (self.strength < self.limit)
        self.strength = torch.where(farther, torch.minimum(OUTWARDS * self.strength, self.limit), self.strength)
        self.value = torch.where(farther, -math.inf, self.value)
        self._turn(stands & ~farther & (was == Phase.FOLLOW), Phase.MOVE)
        self._turn(over & ~flat & (was == Phase.OPEN), Phase.MOVE)
        self._turn(over & ~flat & (was == Phase.MOVE), Phase.LEARN)
        self.phase = torch.where(stuck & (self.phase == Phase.MOVE), Phase.MEASURE, self.phase)
        self.vain = torch.where(stuck, 0, self.vain)
        blind = stands & ~known & flat & (was <= Phase.MOVE) & (was != Phase.OPEN) & ((number + 1) % OPENING == 0)
        self.strength = torch.where(blind, self.limit, self.strength)
        self.value = torch.where(blind, -math.inf, self.value)
        self._turn(blind, Phase.OPEN)

    def _turn(self, rows: Tensor, phase: Phase) -> None:
        """Begin a series of queries of one kind."""
        shares = {Phase.LEARN: AGAIN, Phase.MOVE: MOVES}
        series = max(1, int(shares[phase] * self.learning)) if phase in shares else OPENING
        self.phase = torch.where(rows, phase, self.phase)
        self.left = torch.where(rows, series, self.left)
        self.vain = torch.where(rows, 0, self.vain)

    def _nearer(self, share: Tensor) -> Tensor:
        """A strength below the best known one, by a share of it."""
        return (self.best * (1 - share)).clamp_min(NEAREST)

    def _wanted(self) -> Inputs:
        """The unit change of each norm ball that raises the linear model most."""
        plain = self.region.plain
        raw = {ball.modality: self.model.slope[ball.modality] / ball.radius for ball in self.balls if ball.has_norm}
        moved = plain.extreme(raw, self.strength)
        return {
            ball.modality: (moved[ball.modality] - plain.inputs[ball.modality])
            / per_sample(self.strength * ball.radius, moved[ball.modality]).to(moved[ball.modality].dtype)
            for ball in plain.scenario.attacked
        }

    def _candidate(self, number: int) -> tuple[Inputs, Inputs]:
        """The next query of each row: unit changes, and edits within the budget."""
        draws = self.draws[:, number]
        follows, opens, moves = (self.phase == each for each in (Phase.FOLLOW, Phase.OPEN, Phase.MOVE))
        turn = (draws[:, 0] * len(self.balls)).long()  # which modality moves
        unit, edited = dict(self.unit), dict(self.edited)
        share = FIRST_SHARE / 2 ** sum(number / self.queries > each for each in HALVINGS)
        wanted = self._wanted() if self.unit and bool((moves | follows).any()) else {}
        for place, ball in enumerate(self.balls):
            name = ball.modality
            mine = moves & (turn == place)
            inside = chosen(self.fields[name], share, draws)
            if not ball.has_norm:
                edited[name] = self._edit(ball, mine | opens | follows, inside, draws, number)
                continue
            own = self.unit[name]
            guided = per_sample(draws[:, 8] < GUIDED, own)
            signs = wave(self.fields[name].shape[1:], draws)
            if wanted:
                aim = torch.where(guided, wanted[name], signs)
                moved = with_window(ball, own, inside, aim, signs, guided, draws)
                moved = torch.where(per_sample(mine, own), moved, own)
                unit[name] = torch.where(per_sample(follows, own), wanted[name], moved)
            if bool(opens.any()):
                unit[name] = torch.where(
                    per_sample(opens, own), pattern(ball, self.fields[name], number, draws), unit[name]
                )
        return unit, edited

    def _placed(self, unit: Inputs, edited: Inputs, number: int) -> Inputs:
        """The inputs of a query; those that only learn may leave the balls, but not the range."""
        plain, draws = self.region.plain, self.draws[:, number]
        learns = self.phase == Phase.LEARN
        at = dict(edited)
        if plain.scenario.attacked:
            change = {ball.modality: unit[ball.modality] * ball.radius for ball in plain.scenario.attacked}
            at |= plain.project(plain.shifted(change, self.strength), self.strength)
        if not bool(learns.any()):
            return at
        waves = self.model.waves(draws[:, -WAVES:])
        for ball in self.balls:
            name, own = ball.modality, self.at[ball.modality]
            if ball.has_norm:
                size = per_sample(SMALL * self.strength * ball.radius / self._spread(ball), own).to(own.dtype)
                near = plain.ranges[name].clamp(own + size * waves[name].to(own.dtype))
            else:
                near = self._edit(
                    ball, learns & self.model.turn[name], chosen(self.fields[name], FIRST_SHARE, draws), draws, number
                )
            at[name] = torch.where(per_sample(learns, own), near, at[name])
        return at

    def _spread(self, ball: Ball) -> float:
        """The Euclidean length of a sign for each value, in units of the ball."""
        return 1.0 if ball.norm_name == "linf" else math.sqrt(self.fields[ball.modality][0].numel())

    def _scale(self, ball: Ball) -> float:
        return ball.radius if ball.has_norm else 1.0

    def _edit(self, ball: Ball, moves: Tensor, inside: Tensor, draws: Tensor, number: int) -> Tensor:
        """The edit so far, within the budget; where it moves, with random preferences, or those of
        the linear model.
        """
        name = ball.modality
        place, at, slope = self.places[name], self.edited[name], self.model.slope[name]
        budget, moving = self.strength * ball.radius, per_sample(moves, at)
        if isinstance(ball.edit, Ranked):
            values = self.fields[name].double()
            noise = 2 * torch.remainder(values * (9973 * (1 + per_sample(draws[:, 6].double(), at))), 1) - 1
            change = at - place.x
            kept = torch.where(per_sample(draws[:, 1] < 0.5, at) & inside, 0.0, change)
            explored = kept + per_sample(2 * draws[:, 5], at) * noise.to(at.dtype)
            guided = slope.to(at.dtype) * (1 + per_sample(draws[:, 5], at) * noise.to(at.dtype))
            explored = torch.where(
                per_sample(draws[:, 8] < GUIDED, at) & (slope != 0).flatten(1).any(1).reshape(-1, *[1] * (at.ndim - 1)),
                guided,
                explored,
            )
            return ball.edit.best_edit(place, budget, torch.where(moving, explored, change))
        sign = per_sample(torch.where(draws[:, 6] < 0.5, -1.0, 1.0), at)
        gradient = torch.where(inside, sign, 0.0).to(at.dtype)
        turn = Turn(at, at, gradient, torch.ones_like(at), number, 2 * self.queries)
        return torch.where(moving, ball.edit.move(place, budget, turn), at)
