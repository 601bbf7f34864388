"""A universal patch: one for all samples of the batch, raising their mean loss (Moosavi-Dezfooli et
al., CVPR 2017).

It depends on the whole batch: with other samples beside it, a sample's strength may be another.
"""

from __future__ import annotations

import torch

from attacks.edits import Turn
from attacks.eot import draws_of
from attacks.errors import BadInput
from attacks.mixed import MOMENTUM
from attacks.objective import Named, judged_gradient, refuse_nan
from attacks.randomness import keyed_generator
from attacks.search_state import SearchState

RUNGS = 6  # strengths that are tried, each a square with about the same growth of its side


def universal(state: SearchState, *, steps: int) -> None:
    """Make one patch at each of a ladder of strengths and offer it to every sample.

    Raises:
        BadInput: anything but the patch is attacked.
        ModelBroke: the model answers NaN.
    """
    ball, *others = state.region.scenario.attacked
    if others:
        raise BadInput(
            f"scenario '{state.region.scenario}': a universal patch must be the only attack: leave the other"
            " modalities intact or"
            " missing"
        )
    place, rows = state.region.place(ball.modality), torch.arange(len(state.region), device=state.best.strength.device)
    for rung in range(1, RUNGS + 1):
        budget = torch.full_like(state.best.strength, (rung / RUNGS) ** 2 * min(state.limit * ball.radius, 1.0))
        chance = torch.rand(
            place.x.shape[1:], generator=keyed_generator(state.seed, "universal", ball.modality, rung)
        ).to(place.x)
        at = ball.edit.start(place, budget, chance.expand_as(place.x))
        averaged, broken = torch.zeros_like(at), torch.zeros_like(rows, dtype=torch.bool)
        for step in range(steps):
            _, value, gradient = judged_gradient(state.fast, state.region, {ball.modality: at}, Named(state.losses[0]))
            broken = broken | value.isnan()
            averaged = MOMENTUM * averaged + gradient[ball.modality].mean(0, keepdim=True)
            at = ball.edit.move(place, budget, Turn(at, at, averaged.expand_as(at), torch.ones_like(at), step, steps))
        refuse_nan(broken)
        state.spend(rows, steps * draws_of(state.fast))
        state.propose(rows, {ball.modality: at}, f"universal-{steps}")
