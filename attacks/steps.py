"""Edits beside norm balls, to first order: strengths that lie exactly on a step of an edit are met
exactly.

Between two steps the edits stay as they are and the norm balls grow; at a step the edits gain
something at once. So the smallest strength at which a linear loss reaches zero lies at a step, or
between two steps, at the root of the amount that the balls then need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.edits import Place, Ranked
from attacks.edits.edit import whole
from attacks.norms import per_sample
from attacks.region import FURTHEST, Inputs, Region
from attacks.scenario import Ball

MOST = 4096  # of an edit's sizes that are looked at
A_SLIVER = 1e-3  # above a step, as a share of it: rounding, or a search that stopped there
INSIDE = 1e-7

Places = Mapping[str, Place]
"""Where the edit of each modality works."""


@dataclass(frozen=True, eq=False)
class Ladder:
    """The steps of all edits of a scenario, and the gain of the best edits up to each step.

    Attributes:
        steps: the strengths, ascending, the first is 0; float64 (n,).
        gained: float64 (B, n).
    """

    steps: Tensor
    gained: Tensor

    @staticmethod
    def of(region: Region, places: Places, gradient: Inputs, limit: float) -> Ladder:
        device = next(iter(gradient.values())).device
        balls, most = (
            region.scenario.edits,
            {ball: min(int(limit * ball.radius * (1 + INSIDE)), MOST) for ball in region.scenario.edits},
        )
        every = [torch.arange(most[ball] + 1, dtype=torch.float64, device=device) / ball.radius for ball in balls]
        steps = torch.cat(every).unique()
        gained = torch.zeros(len(region), len(steps), dtype=torch.float64, device=device)
        for ball in balls:
            assert isinstance(ball.edit, Ranked)
            gains = ball.edit.gains(places[ball.modality], gradient[ball.modality], most[ball]).double()
            gained += gains[:, whole(steps * ball.radius).long().clamp(max=most[ball])]
        return Ladder(steps, gained)


def all_ranked(region: Region) -> bool:
    """Whether a gradient ranks every edit of a scenario."""
    return all(isinstance(ball.edit, Ranked) for ball in region.scenario.edits)


def candidates(
    region: Region, places: Places, at: Inputs, value: Tensor, gradient: Inputs, limit: float, beyond: float
) -> Iterator[tuple[Tensor, Inputs]]:
    """Where a linear loss of this value (B,) and gradient at `at` reaches zero.

    Args:
        places: where each edit works.

    Yields:
        the strength (B,), inf where nothing reaches it, and the attacked modalities there: at the
            first step at which
        edits and balls are enough, and below it, where the balls make up for what the edits of the
            step before lack.
    """
    ladder, plain = Ladder.of(region, places, gradient, limit), region.plain
    needed = region.needed(at, value, gradient)
    first = _first_enough(plain, ladder, needed, gradient)
    last = len(ladder.steps) - 1
    for place in (first, first - 1):
        index = place.clamp(0, last)
        step, lacking = ladder.steps[index], needed - ladder.gained.gather(1, index[:, None]).squeeze(1)
        balls = plain.reach(lacking, gradient)
        strength = torch.maximum(step, balls).masked_fill(place != index, float("inf"))
        yield (
            strength,
            edited(region, places, gradient, step) | plain.extreme(gradient, balls.clamp(max=limit) * (1 + beyond)),
        )


def held(region: Region, at: Inputs, value: Tensor, gradient: Inputs, beyond: float) -> tuple[Tensor, Inputs]:
    """The same with the edits left as they are at `at`: the strength (B,) and the attacked
    modalities there.
    """
    edits = {ball.modality: at[ball.modality] for ball in region.scenario.edits}
    plain = region.continuous(edits)
    balls = plain.reach(plain.needed(at, value, gradient), gradient)
    strength = torch.maximum(_gauge(region, edits, region.scenario.edits), balls)
    return strength, edits | plain.extreme(gradient, balls.clamp(max=FURTHEST) * (1 + beyond))


def edited(region: Region, places: Places, gradient: Inputs, strength: Tensor) -> Inputs:
    """The best edits at a strength (B,) to first order."""
    return {
        ball.modality: ball.edit.best_edit(places[ball.modality], strength * ball.radius, gradient[ball.modality])
        for ball in region.scenario.edits
        if isinstance(ball.edit, Ranked)
    }


def _first_enough(plain: Region, ladder: Ladder, needed: Tensor, gradient: Inputs) -> Tensor:
    """The first step at which edits and balls together reach the needed amount, int64 (B,); the
    number of steps where no step does.
    """
    gained_by = plain.gained_by(gradient)
    low, high = (
        torch.zeros_like(needed, dtype=torch.int64),
        torch.full_like(needed, len(ladder.steps), dtype=torch.int64),
    )
    for _ in range(len(ladder.steps).bit_length() + 1):
        middle = ((low + high) // 2).clamp(max=len(ladder.steps) - 1)
        enough = ladder.gained.gather(1, middle[:, None]).squeeze(1) + gained_by(ladder.steps[middle])[0] >= needed
        open_ = low < high
        high = torch.where(open_ & enough, middle, high)
        low = torch.where(open_ & ~enough, middle + 1, low)
    return high


def at_the_step(region: Region, attacked: Inputs) -> Inputs:
    """The same with the changes in norm balls shrunk to the strength of the edits, where they lie
    slightly above it.
    """
    edits, balls = (
        _gauge(region, attacked, chosen) for chosen in (region.scenario.edits, region.scenario.continuous.attacked)
    )
    share = torch.where((balls > edits) & (balls <= edits * (1 + A_SLIVER)), edits / balls * (1 - INSIDE), 1.0)
    drawn = {}
    for ball in region.scenario.continuous.attacked:
        x, moved = region.inputs[ball.modality], attacked[ball.modality]
        size, allowed = ball.size(x, moved), edits * ball.radius
        nearer = region.ranges[ball.modality].clamp(x + per_sample(share, x).to(x.dtype) * (moved - x))
        excess = (ball.size(x, nearer) - allowed).clamp_min(0)  # rounding of x + change
        again = torch.where(
            share < 1, (allowed - 2 * excess) / size.clamp_min(torch.finfo(torch.float64).tiny), 1.0
        ).clamp(0, 1)
        drawn[ball.modality] = region.ranges[ball.modality].clamp(x + per_sample(again, x).to(x.dtype) * (moved - x))
    return {**attacked, **drawn}


def _gauge(region: Region, attacked: Inputs, balls: tuple[Ball, ...]) -> Tensor:
    sizes = [ball.size(region.inputs[ball.modality], attacked[ball.modality]) / ball.radius for ball in balls]
    return torch.stack(sizes).amax(0)
