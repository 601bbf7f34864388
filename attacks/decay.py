"""The search where answers decay instead of flipping: a map, an image, a sound.

Such an answer has a score in [0, 1]. The search looks for the smallest strength at which the score
falls below the threshold, and on the way lowers it at a ladder of strengths, from small to large.
The watcher keeps the best pairs of strength and score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.apgd import apgd
from attacks.boundary_bisection import bisect_to_boundary
from attacks.fmn import fmn
from attacks.norms import per_sample
from attacks.objective import Loss, Named, Objective, Verdict
from attacks.parts import push_parts
from attacks.pgd import pgd
from attacks.region import Inputs, Region, select, take
from attacks.search_state import SearchState

MARGIN = "margin"
LOWEST = 1 / 16  # the first rung of the ladder, where the radii as written are 1; each is twice the last
RUNGS, GROWTH = 8, 12.0  # the number of rungs; the steps of the last rung over those of the first
BETWEEN = (1.0, 0.84, 0.71, 0.59)  # the shares of a rung's change that the watcher gets
OUTER = 3.0  # the next strength over the last one, while no failure is known
AFRESH = 0.95  # of the best known strength, at which an attack begins at a random place
CLOSE = 1.01  # a bracket narrower than this ratio is closed
PASSES = 4  # pushes of the parts of an answer; each starts where the last one ended


@dataclass(frozen=True, eq=False)
class Unended:
    """The same objective, but a sample counts as failed only when its score is 0."""

    objective: Objective

    def __call__(self, inputs: Inputs) -> Verdict:
        verdict = self.objective(inputs)
        assert verdict.scores is not None, "only graded answers are lowered further"
        return replace(verdict, fails=verdict.scores <= 0)

    def take(self, rows: Tensor) -> Unended:
        return Unended(self.objective.take(rows))

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> Unended:
        return Unended(self.objective.holding(inputs, moving))


def decay(state: SearchState, *, steps: int, rounds: int, ladder: int) -> None:
    """Find the critical strengths of graded answers, and lower their scores on a ladder.

    The ladder is climbed once for all thresholds. Later searches use its results.

    Args:
        steps: gradient evaluations of one attack.
        rounds: strengths that are tried with each loss below the best known one.
        ladder: gradient evaluations of the whole ladder.
    """
    push_parts(state, PASSES)
    _walk(state, 2 * steps)
    first, *others = _losses(state)
    _narrow(state, Named(first), steps, rounds)
    if state.watch is not None and state.watch.first:
        _ladder(state, ladder)
    for name in others:
        _narrow(state, Named(name), steps, rounds)
    for number in range(rounds):
        _afresh(state, Named(first), steps, rounds + number)


def _losses(state: SearchState) -> tuple[str, ...]:
    """The two losses that ascents raise, but not the margin, whose gradient may touch one part
    only.
    """
    return tuple(name for name in state.losses if name != MARGIN)[:2] or (MARGIN,)


def _walk(state: SearchState, steps: int) -> None:
    """One minimum-norm pass along the margin, if the margin is one smooth number."""
    rows = _open(state)
    if not len(rows):
        return
    with torch.no_grad():
        verdict = state.fast.take(rows)(state.region.take(rows).inputs)
    if verdict.parts is not None:
        return
    nearest = fmn(state.fast.take(rows), state.region.take(rows), state.limit, steps=steps, loss=Named(MARGIN))
    state.spend(rows, nearest.gradients)
    met = nearest.fails.nonzero().squeeze(1)
    state.propose(rows[met], take(nearest.inputs, met), f"fmn-{steps}")


def _open(state: SearchState) -> Tensor:
    return (state.best.strength > 0).nonzero().squeeze(1)


def _narrow(state: SearchState, loss: Loss, steps: int, rounds: int) -> None:
    """Halve the bracket between a strength that is too small and the best known one."""
    too_small = torch.zeros_like(state.best.strength)
    for number in range(rounds):
        best = state.best.strength
        inside = torch.where(too_small > 0, (too_small * best).sqrt(), 0.85 * best)
        outside = torch.full_like(best, OUTER**number).clamp(max=state.limit)
        tried = torch.where(best.isinf(), outside, inside)
        rows = ((best > 0) & (best > too_small * CLOSE)).nonzero().squeeze(1)
        if not len(rows):
            return
        won = _attack(state, rows, tried[rows], loss, steps, number)
        lost = rows[~won]
        too_small[lost] = torch.maximum(too_small[lost], tried[lost]) * state.best.strength[lost].isfinite()


def _afresh(state: SearchState, loss: Loss, steps: int, number: int) -> None:
    """An attack a little below the best known strength from a random place: a loss that grows on
    both sides of its target, as an absolute error, has many summits.
    """
    best = state.best.strength
    rows = ((best > 0) & best.isfinite()).nonzero().squeeze(1)
    if len(rows):
        _attack(state, rows, AFRESH * best[rows], loss, steps, number, afresh=True)


def _attack(
    state: SearchState, rows: Tensor, strength: Tensor, loss: Loss, steps: int, number: int, afresh: bool = False
) -> Tensor:
    """One attack from the best witness, or from a random place, `afresh` or where there is none;
    whether each row fails, bool (R,).
    """
    region, objective = state.region.take(rows), state.fast.take(rows)
    known = state.best.strength[rows].isfinite() & (not afresh)
    witness = {name: state.best.witness[name][rows] for name in region.ranges}
    start = select(known, _shrunk(region, witness, strength), region.shifted(state.draw(rows, number), strength))
    attempt = apgd(objective, region, strength, steps=steps, loss=loss, start=start)
    state.spend(rows, attempt.gradients)
    state.note(rows, attempt.inputs)
    _take_up(state, region, rows, attempt.inputs, attempt.fails, f"apgd-{steps}")
    return attempt.fails


def _shrunk(region: Region, at: Mapping[str, Tensor], strength: Tensor) -> Inputs:
    """The change scaled to a gauge of `strength` (R,), kept in range."""
    share = strength / region.gauge(at).clamp_min(torch.finfo(torch.float64).tiny)
    scaled = {name: x + per_sample(share, x).to(x.dtype) * (at[name] - x) for name, x in region.clean.items()}
    return region.project(scaled, strength)


def _ladder(state: SearchState, gradients: int) -> None:
    """Lower the scores at strengths around the radii as written. Each rung starts from the rung
    below it and takes more steps: a larger loss of score takes longer.
    """
    rows = _open(state)
    if not len(rows):
        return
    region, objective = state.region.take(rows), Unended(state.fast.take(rows))
    names, at = _losses(state), region.clean
    # in L1, plain steps reach lower scores: APGD left 61 % of the pixels right where PGD left 52 %
    ascent = pgd if all(ball.norm_name == "l1" for ball in region.scenario.attacked) else apgd
    for rung, steps in enumerate(_steps(gradients)):
        strength = torch.full_like(state.best.strength[rows], min(LOWEST * 2.0**rung, state.limit))
        start = _shrunk(region, at, strength) if rung else region.shifted(state.draw(rows, rung), strength)
        loss = Named(names[rung % len(names)])
        attempt = ascent(objective, region, strength, steps=steps, loss=loss, start=start)
        state.spend(rows, attempt.gradients)
        at = region.inside(attempt.inputs, strength)
        for share in BETWEEN:
            state.note(rows, at if share == 1 else _shrunk(region, at, share * strength))
        with torch.no_grad():
            fails = state.fast.take(rows)(region.complete(at)).fails
        _take_up(state, region, rows, at, fails, f"ladder-{gradients}")


def _take_up(state: SearchState, region: Region, rows: Tensor, at: Inputs, fails: Tensor, finder: str) -> None:
    """Propose what fails the threshold, pulled back to where it just does."""
    met = fails.nonzero().squeeze(1)
    if len(met):
        nearer = bisect_to_boundary(state.fast.take(rows[met]), region.take(met), take(at, met))
        state.propose(rows[met], nearer, finder)


def _steps(gradients: int) -> list[int]:
    """Gradient evaluations of each rung, from few to `GROWTH` times as many."""
    shares = [GROWTH ** (rung / (RUNGS - 1)) for rung in range(RUNGS)]
    return [max(2, round(gradients * share / sum(shares))) for share in shares]
