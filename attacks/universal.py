"""A universal patch: one for all samples of the batch, raising their mean loss (Moosavi-Dezfooli et
al., CVPR 2017).

It depends on the whole batch: with other samples beside it, a sample's strength may be another.
"""

from __future__ import annotations

import torch

from attacks.edits import Turn
from attacks.errors import BadInput
from attacks.expectation import draws_of
from attacks.mixed import MOMENTUM
from attacks.objective import Named, judged_gradient, refuse_nan
from attacks.randomness import keyed_generator
from attacks.search_state import Hunt

RUNGS = 6  # strengths that are tried, each a square with about the same growth of its side


def universal(hunt: Hunt, *, steps: int) -> None:
    """Make one patch at each of a ladder of strengths and offer it to every sample.

    Raises:
        BadInput: anything but the patch is attacked.
        ModelBroke: the model answers NaN.
    """
    ball, *others = hunt.region.scenario.attacked
    if others:
        raise BadInput(
            f"scenario '{hunt.region.scenario}': a universal patch comes alone: leave the other modalities intact or"
            " missing"
        )
    place, rows = hunt.region.place(ball.modality), torch.arange(len(hunt.region), device=hunt.best.strength.device)
    for rung in range(1, RUNGS + 1):
        budget = torch.full_like(hunt.best.strength, (rung / RUNGS) ** 2 * min(hunt.limit * ball.radius, 1.0))
        chance = torch.rand(
            place.x.shape[1:], generator=keyed_generator(hunt.seed, "universal", ball.modality, rung)
        ).to(place.x)
        at = ball.edit.start(place, budget, chance.expand_as(place.x))
        averaged, broken = torch.zeros_like(at), torch.zeros_like(rows, dtype=torch.bool)
        for step in range(steps):
            _, value, gradient = judged_gradient(hunt.fast, hunt.region, {ball.modality: at}, Named(hunt.losses[0]))
            broken = broken | value.isnan()
            averaged = MOMENTUM * averaged + gradient[ball.modality].mean(0, keepdim=True)
            at = ball.edit.move(place, budget, Turn(at, at, averaged.expand_as(at), torch.ones_like(at), step, steps))
        refuse_nan(broken)
        hunt.spend(rows, steps * draws_of(hunt.fast))
        hunt.offer(rows, {ball.modality: at}, f"universal-{steps}")
