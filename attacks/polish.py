"""The last steps down to the boundary: the linear model of a loss at the best witness, solved
exactly.

DeepFool's step (Moosavi-Dezfooli et al., CVPR 2016) with the ball and the range kept, as in FAB
(Croce & Hein, ICML 2020): where the loss is linear between the witness and the solution, the
solution is the nearest failure of that class.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from attacks.boundary_bisection import bisect_to_boundary
from attacks.eot import draws_of, places_of
from attacks.objective import Loss, Named, Objective, judged_gradient, refuse_nan
from attacks.region import Inputs, Region, select, take
from attacks.search_state import SearchState
from attacks.steps import Places, at_the_step, candidates, held

BEYOND = 1e-5  # how far past the solution a candidate lies, as rounding decides there
WORTH = 1e-3  # a step that gains less, as a share of the strength, is the last
FINDER = "polish"


def polish(state: SearchState, rounds: int) -> None:
    """Step from the best witness of every sample, until a step gains nothing."""
    rows = ((state.best.strength > 0) & state.best.strength.isfinite()).nonzero().squeeze(1)
    for _ in range(rounds):
        if not len(rows):
            return
        before = state.best.strength[rows]
        solve(state, rows, Named("margin"), {name: state.best.witness[name][rows] for name in state.region.ranges})
        rows = rows[state.best.strength[rows] < before * (1 - WORTH)]


def descend(state: SearchState, rows: Tensor, loss: Loss, steps: int) -> None:
    """Step from the clean inputs to the boundary of each linear model, as DeepFool does."""
    at = state.region.take(rows).clean
    for _ in range(steps):
        at = solve(state, rows, loss, at)


def solve(state: SearchState, rows: Tensor, loss: Loss, at: Inputs) -> Inputs:
    """Propose the nearest boundary point of the linear model of a loss at the attacked modalities
    `at`, and return it.
    """
    region = state.region.take(rows)
    objective = _exact(state).take(rows)
    _, value, gradient = judged_gradient(objective, region, at, loss)
    refuse_nan(value.isnan())
    state.spend(rows, draws_of(objective))
    candidate = at
    for strength, candidate in _solutions(region, places_of(objective, region), at, value, gradient, state.limit):
        near = (strength < state.best.strength[rows]).nonzero().squeeze(1)
        if len(near):
            _try(
                state, objective.take(near), region.take(near), rows[near], take(candidate, near), take(gradient, near)
            )
    return candidate


def _exact(state: SearchState) -> Objective:
    """The objective that decides, because the quick objective sees only a few random draws."""
    return state.objective if draws_of(state.objective) > 1 else state.fast


def _solutions(
    region: Region, places: Places, at: Inputs, value: Tensor, gradient: Inputs, limit: float
) -> Iterator[tuple[Tensor, Inputs]]:
    if region.scenario.edits:
        yield held(region, at, value, gradient, BEYOND)
        yield from candidates(region, places, at, value, gradient, limit, BEYOND)
        return
    strength = region.reach(region.needed(at, value, gradient), gradient)
    yield strength, region.extreme(gradient, strength.clamp(max=limit) * (1 + BEYOND))


def _try(
    state: SearchState, objective: Objective, region: Region, rows: Tensor, candidate: Inputs, gradient: Inputs
) -> None:
    """Propose the candidates that fail. The others first move towards a point that fails."""
    with torch.no_grad():
        met = objective(region.complete(candidate)).fails
    _propose(state, region, rows, candidate, met)
    left = (~met & state.best.strength[rows].isfinite()).nonzero().squeeze(1)
    if not len(left):
        return
    objective, region, rows, candidate = objective.take(left), region.take(left), rows[left], take(candidate, left)
    failing, fails = _beyond(state, objective, region, rows, candidate, take(gradient, left))
    nearer = bisect_to_boundary(objective, region, failing, candidate)
    _propose(state, region, rows, select(fails, nearer, candidate), fails)


def _beyond(
    state: SearchState, objective: Objective, region: Region, rows: Tensor, candidate: Inputs, gradient: Inputs
) -> tuple[Inputs, Tensor]:
    """The witness; beside edits, the same edits with the balls used up to the best known strength;
    and whether it fails.
    """
    if not region.scenario.edits:
        return {name: state.best.witness[name][rows] for name in region.ranges}, torch.ones_like(rows, dtype=torch.bool)
    failing = candidate | region.plain.extreme(gradient, state.best.strength[rows])
    with torch.no_grad():
        return failing, objective(region.complete(failing)).fails


def _propose(state: SearchState, region: Region, rows: Tensor, candidate: Inputs, fails: Tensor) -> None:
    met = fails.nonzero().squeeze(1)
    if not len(met):
        return
    state.propose(rows[met], take(candidate, met), FINDER)
    if region.scenario.edits and region.scenario.continuous.attacked:
        state.propose(rows[met], at_the_step(region.take(met), take(candidate, met)), FINDER)
