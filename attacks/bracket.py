"""The search for the critical strength: minimum-norm passes, then attacks below their result.

DeepFool (Moosavi-Dezfooli et al., CVPR 2016) steps to the nearest classes; FMN (Pintor et al.,
NeurIPS 2021) walks along the boundary in the gauge of all attacked modalities and leaves an upper
bound for each sample. Then attacks at fixed strengths look below it, by bisection. Each kind of
attack runs until it fails there. A success is first pulled back along the straight line to the
clean input, which costs no gradients. At the end, the linear model at the best witness is solved
exactly (`attacks.polish`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from attacks.alternate import alternate
from attacks.apgd import apgd
from attacks.boundary_bisection import bisect_to_boundary
from attacks.combine_single_modality import combine_single_modality
from attacks.decay import decay
from attacks.fmn import fmn
from attacks.looks import look_at_classes
from attacks.mixed import mixed
from attacks.nearest_classes import RankedClasses
from attacks.objective import Loss, Named, Toward
from attacks.polish import descend, polish, solve
from attacks.region import Inputs, Region, select, take
from attacks.search_state import SearchState
from attacks.steps import all_ranked
from attacks.universal import universal

LOOKED_AT = 6  # the number of nearest classes
FAR = 2.0  # DeepFool skips a class this many times as far as the nearest class
ABOUT = 0.8  # a first-order distance may be too large by this factor where ranges bind
WIDER = 4.0  # the next strength over the last one, while no failure is known
CLOSE = 1.005  # a bracket narrower than this ratio is closed
CROSS_ENTROPY, MARGIN, DLR = range(3)  # the losses of a classifier, by place; see `Move.aim`
NEAREST, SECOND, THIRD = -1, -2, -3  # aims at classes; see `Move.aim`


class Start(Enum):
    """Where an attack starts."""

    CLEAN = "clean"
    RANDOM = "random"
    WITNESS = "witness"


@dataclass(frozen=True)
class Move:
    """One way of attacking.

    Attributes:
        aim: which loss to raise, by its place among the objective's; of a classifier, -1 is the
            margin of its nearest class, -2 of the second nearest, and so on.
        start: from where.
    """

    aim: int
    start: Start


@dataclass(frozen=True)
class Walks:
    """The minimum-norm passes of a preset.

    Attributes:
        losses: the loss that each raises, as in `Move.aim`.
        steps_from: steps of a pass from the clean input, and from a witness of a smaller scenario.
        rival: steps of one more pass, from the best witness to the class that comes second there; 0
            for no such pass.
    """

    losses: tuple[int, ...]
    steps_from: tuple[int, int]
    rival: int = 0


@dataclass(frozen=True)
class Bracket:
    """A preset of the search.

    Attributes:
        summary: shown by `list`.
        descents: how many of the nearest classes DeepFool aims at, and by how many steps, where no
            smaller scenario has a witness.
        walks: the minimum-norm passes.
        l1_walks: those where a ball of L1 takes part, whose corners make the boundary harder to
            follow.
        moves: ways of attacking below the bracket, in turn.
        warm: how many of the walks and of the moves a sample gets that a smaller scenario has a
            witness for.
        steps: gradient evaluations of one attack, by APGD.
        rounds: strengths that each move tries.
        edits: steps of one attack, and strengths that are tried, where edits other than tokens take
            part.
        opening: the first of the rounds, as a share of the best known strength.
        polishes: steps from the best witness, at the end.
        ladder: gradient evaluations with which the score of a graded answer is lowered.
    """

    summary: str
    descents: tuple[int, int]
    walks: Walks
    l1_walks: Walks
    moves: tuple[Move, ...]
    warm: tuple[int, int]
    steps: int
    rounds: int
    edits: tuple[int, int]
    opening: float
    polishes: int
    ladder: int

    def __call__(self, state: SearchState) -> None:
        if not bool((state.best.strength > 0).any()):
            return
        if state.region.scenario.edits:
            self._with_edits(state)
            return
        if state.graded:
            decay(state, steps=self.steps, rounds=self.rounds, ladder=self.ladder)
            return
        combine_single_modality(state)
        nearby = self._nearby(state)
        warm = state.best.strength.isfinite()
        self._descend(state, nearby, warm)
        walks = self._walks(state)
        for turn, loss in enumerate(walks.losses):
            left_out = warm if turn >= self.warm[0] else torch.zeros_like(warm)
            self._walk(state, nearby, loss, left_out)
        self._look_at_others(state, nearby)
        if walks.rival:
            self._walk_to_rivals(state, ~warm, walks.rival)
        for turn, move in enumerate(self.moves):
            too_small = torch.zeros_like(state.best.strength)
            if turn >= self.warm[1]:
                too_small = too_small.masked_fill(warm, float("inf"))
            for number in range(self.rounds):
                too_small = self._below(state, move, nearby, too_small, turn, number)
        polish(state, self.polishes)

    def _walks(self, state: SearchState) -> Walks:
        corners = any(ball.norm_name == "l1" for ball in state.region.scenario.continuous.attacked)
        return self.l1_walks if corners else self.walks

    def _with_edits(self, state: SearchState) -> None:
        edits = state.region.scenario.edits
        if any(ball.edit.shared for ball in edits):
            universal(state, steps=self.edits[0])
            return
        look_at_classes(state)
        if all(ball.norm_name == "tokens" for ball in edits):
            self._with_tokens(state)
        else:
            mixed(state, steps=self.edits[0], rounds=self.edits[1])
        if all_ranked(state.region):
            polish(state, self.polishes)

    def _with_tokens(self, state: SearchState) -> None:
        """Tokens in turn with the norm balls, which alone come first where no smaller scenario has
        had them.
        """
        alone = state.region.plain
        if alone.scenario.attacked and not state.singles:
            inner = SearchState(state.objective, alone, state.samples, state.seed, state.limit)
            self(inner)
            state.spend(torch.arange(len(alone), device=inner.best.gradients.device), inner.best.gradients)
            rows = inner.best.strength.isfinite().nonzero().squeeze(1)
            state.propose(
                rows,
                {name: inner.best.witness[name][rows] for name in state.region.ranges},
                f"witness of {alone.scenario}",
            )
        alternate(state, self._walks(state).steps_from[0])

    def _nearby(self, state: SearchState) -> RankedClasses | None:
        """The nearest classes of all samples, if the objective is a classifier."""
        rows = (state.best.strength > 0).nonzero().squeeze(1)
        wanted = max(LOOKED_AT, -min(*self._walks(state).losses, *(move.aim for move in self.moves)))
        nearby, spent = state.nearest_classes.nearest(state.region.scenario, rows, wanted)
        state.spend(rows, spent)
        if nearby is None:
            return None
        classes = torch.zeros(len(state.region), nearby.classes.shape[1], dtype=torch.int64, device=rows.device)
        distance = torch.zeros_like(classes, dtype=nearby.distance.dtype)
        return RankedClasses(classes.index_copy(0, rows, nearby.classes), distance.index_copy(0, rows, nearby.distance))

    def _worth(self, state: SearchState, nearby: RankedClasses | None, aim: int) -> Tensor:
        """The samples that withstand, except those whose class lies beyond the best known strength
        to first order.
        """
        standing = state.best.strength > 0
        if aim >= NEAREST or nearby is None:
            return standing
        if -aim > nearby.classes.shape[1]:
            return torch.zeros_like(standing)
        return standing & (nearby.distance[:, -aim - 1] < state.best.strength)

    def _loss(self, state: SearchState, nearby: RankedClasses | None, aim: int, rows: Tensor) -> Loss:
        if aim >= 0 or nearby is None:
            return Named(state.losses[abs(aim) % len(state.losses)])
        return Toward(nearby.classes[rows, -aim - 1])

    def _descend(self, state: SearchState, nearby: RankedClasses | None, warm: Tensor) -> None:
        """DeepFool at the nearest classes, those left out that are much farther than the
        nearest.
        """
        classes, steps = self.descents
        for place in range(0 if nearby is None else min(classes, nearby.classes.shape[1])):
            assert nearby is not None
            distance = nearby.distance[:, place]
            worth = ~warm & (distance < state.best.strength) & (distance < FAR * nearby.distance[:, 0])
            rows = worth.nonzero().squeeze(1)
            if len(rows):
                descend(state, rows, Toward(nearby.classes[rows, place]), steps)

    def _look_at_others(self, state: SearchState, nearby: RankedClasses | None) -> None:
        """To first order, from the clean inputs: classes about as near as the nearest, or nearer
        than the best known strength.
        """
        if nearby is None:
            return
        for place, distance in enumerate(nearby.distance.unbind(1)):
            best = state.best.strength
            worth = (best > 0) & (distance * ABOUT < torch.minimum(best, nearby.distance[:, 0]).clamp(max=state.limit))
            missed = (distance < best * ABOUT) | (place >= len(self._walks(state).losses))
            rows = (worth & missed).nonzero().squeeze(1)
            if len(rows):
                solve(state, rows, Toward(nearby.classes[rows, place]), state.region.take(rows).clean)

    def _walk(self, state: SearchState, nearby: RankedClasses | None, aim: int, left_out: Tensor) -> None:
        """One minimum-norm pass: at the nearest class from the best witness, at others from the
        clean input.
        """
        worth = self._worth(state, nearby, aim) & ~left_out
        warm = state.best.strength.isfinite() & (aim == NEAREST)
        for chosen, steps in zip((worth & ~warm, worth & warm), self._walks(state).steps_from, strict=True):
            rows = chosen.nonzero().squeeze(1)
            if len(rows):
                known = state.best.strength[rows].isfinite() & (aim == NEAREST)
                witness = {name: state.best.witness[name][rows] for name in state.region.ranges}
                loss = Named("margin") if nearby is None else self._loss(state, nearby, aim, rows)
                self._walk_from(state, loss, rows, select(known, witness, state.region.take(rows).clean), steps)

    def _walk_to_rivals(self, state: SearchState, worth: Tensor, steps: int) -> None:
        """The nearest class to first order may differ from the nearest class at the best witness,
        so step from there to the second class.
        """
        rows = (worth & (state.best.strength > 0) & state.best.strength.isfinite()).nonzero().squeeze(1)
        if not len(rows):
            return
        witness = {name: state.best.witness[name][rows] for name in state.region.ranges}
        with torch.no_grad():
            margins = state.fast.take(rows)(state.region.take(rows).complete(witness)).margins
        if margins is not None and margins.shape[1] > 2:
            self._walk_from(state, Toward(margins.topk(2, dim=1).indices[:, 1]), rows, witness, steps)

    def _walk_from(self, state: SearchState, loss: Loss, rows: Tensor, start: Inputs, steps: int) -> None:
        region = state.region.take(rows)
        nearest = fmn(state.fast.take(rows), region, state.limit, steps=steps, loss=loss, start=start)
        state.spend(rows, nearest.gradients)
        met = nearest.fails.nonzero().squeeze(1)
        state.propose(rows[met], take(nearest.inputs, met), f"fmn-{steps}")

    def _below(
        self, state: SearchState, move: Move, nearby: RankedClasses | None, too_small: Tensor, turn: int, number: int
    ) -> Tensor:
        """Attack below the best known strengths, and return the strengths that are now known to be
        too small for this move.
        """
        best = state.best.strength
        tried = torch.where(too_small > 0, (too_small * best).sqrt(), best * self.opening)
        tried = torch.where(best.isinf(), (self._outer(best, nearby) * WIDER**number).clamp(max=state.limit), tried)
        rows = (self._worth(state, nearby, move.aim) & (best > too_small * CLOSE)).nonzero().squeeze(1)
        if not len(rows):
            return too_small
        strength, region = tried[rows], state.region.take(rows)
        start = self._start(state, move, rows, region, strength, turn * self.rounds + number)
        loss = self._loss(state, nearby, move.aim, rows)
        attempt = apgd(state.fast.take(rows), region, strength, steps=self.steps, loss=loss, start=start)
        state.spend(rows, attempt.gradients)
        won, lost = (mask.nonzero().squeeze(1) for mask in (attempt.fails, ~attempt.fails & best[rows].isfinite()))
        if len(won):
            nearer = bisect_to_boundary(state.fast.take(rows[won]), region.take(won), take(attempt.inputs, won))
            state.propose(rows[won], nearer, f"apgd-{self.steps} from {move.start.value}")
        return too_small.index_copy(0, rows[lost], strength[lost])

    def _outer(self, best: Tensor, nearby: RankedClasses | None) -> Tensor:
        """The first strength to try when nothing is known, (B,): beyond the nearest class; 1 where
        no class can be reached.
        """
        if nearby is None:
            return torch.ones_like(best)
        return torch.where(nearby.distance[:, 0].isfinite(), FAR * nearby.distance[:, 0], 1.0)

    def _start(
        self, state: SearchState, move: Move, rows: Tensor, region: Region, strength: Tensor, draw: int
    ) -> Inputs:
        if move.start is Start.CLEAN:
            return region.clean
        random = region.shifted(state.draw(rows, draw), strength)
        if move.start is Start.RANDOM:
            return random
        return select(
            state.best.strength[rows].isfinite(),
            {name: state.best.witness[name][rows] for name in region.ranges},
            random,
        )
