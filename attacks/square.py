"""Square: random search without gradients (Andriushchenko et al., ECCV 2020), over several
modalities at once.

Each step proposes a new value for one window of every attacked modality, at the edge of the ball,
and keeps it where the loss rises. It uses no gradients, so it serves as a check on them more than
as an attack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.ascent import BLOCK, Attempt
from attacks.norms import per_sample
from attacks.objective import Loss, Named, Objective, refuse_nan
from attacks.randomness import keyed_generator
from attacks.region import Inputs, Region, select, take
from attacks.sampling import unit_changes

FIRST_SHARE = 0.3  # of a modality's values that the first window covers
HALVINGS = (0.02, 0.1, 0.2, 0.4, 0.6, 0.8)  # shares of the steps after which the window's share is halved
DRAWS = 3  # random numbers of one proposal: two places and a sign


@dataclass(eq=False)
class _State:
    objective: Objective
    region: Region
    loss: Loss
    strength: Tensor
    at: Inputs
    value: Tensor
    fails: Tensor
    draws: Inputs

    def take(self, rows: Tensor) -> _State:
        return _State(
            self.objective.take(rows),
            self.region.take(rows),
            self.loss.take(rows),
            self.strength[rows],
            take(self.at, rows),
            self.value[rows],
            self.fails[rows],
            take(self.draws, rows),
        )

    def judge(self, candidate: Inputs) -> None:
        """Keep the candidate where the loss is higher or the sample fails; a failure is final."""
        verdict = self.objective(self.region.complete(candidate))
        value = self.loss(verdict)
        better = ~self.fails & (verdict.fails | (value > self.value))
        self.at = select(better, candidate, self.at)
        self.value = torch.where(better, value, self.value)
        self.fails = self.fails | verdict.fails


@torch.no_grad()
def square(
    objective: Objective,
    region: Region,
    strength: Tensor | float,
    *,
    steps: int = 200,
    loss: Loss | None = None,
    samples: Sequence[str] | None = None,
    seed: int = 0,
) -> Attempt:
    """Square (Andriushchenko et al., ECCV 2020): random windows at the edge of the ball, no
    gradients.

    Args:
        strength: t, shared or per sample (B,): ‖δ_m‖ ≤ t · r_m.
        steps: model calls.
        loss: the loss to raise; the objective's margin if absent.
        samples: names of the samples, to key randomness on; row numbers if absent.

    Raises:
        ModelBroke: the model answers NaN.
    """
    device = next(iter(region.inputs.values())).device
    limit = torch.as_tensor(strength, dtype=torch.float64, device=device).expand(len(region))
    names = [str(row) for row in range(len(region))] if samples is None else samples
    start = region.project(
        region.shifted(unit_changes(region.scenario, region.clean, names, seed, "square"), limit), limit
    )
    lowest, no = torch.full_like(limit, float("-inf"), dtype=torch.float32), torch.zeros_like(limit, dtype=torch.bool)
    state = _State(
        objective,
        region,
        loss or Named("margin"),
        limit,
        region.clean,
        lowest,
        no,
        _drawn(region, names, seed, steps, device),
    )
    state.judge(start)
    rows, attempt = (
        torch.arange(len(region), device=device),
        Attempt(dict(start), no.clone(), torch.zeros_like(limit, dtype=torch.int64)),
    )
    for step in range(1, steps):
        state.judge(_proposal(state, step, steps))
        if step % BLOCK == 0 or step == steps - 1:
            refuse_nan(state.value.isnan())
            for name, x in state.at.items():
                attempt.inputs[name] = attempt.inputs[name].index_copy(0, rows, x)
            attempt.fails[rows] = state.fails
            left = (~state.fails).nonzero().squeeze(1)
            rows, state = rows[left], state.take(left)
            if not len(rows):
                break
    return attempt


def _drawn(region: Region, samples: Sequence[str], seed: int, steps: int, device: torch.device) -> Inputs:
    """Uniform numbers for every step, (B, steps, DRAWS) per modality, keyed on the sample."""
    key = (region.scenario.attacked_names, region.scenario.missing)
    return {
        name: torch.stack(
            [
                torch.rand(steps, DRAWS, generator=keyed_generator("square", seed, sample, key, name))
                for sample in samples
            ]
        ).to(device)
        for name in region.ranges
    }


def _proposal(state: _State, step: int, steps: int) -> Inputs:
    """One window of every attacked modality, pushed to the edge of the ball in one direction."""
    share = FIRST_SHARE / 2 ** sum(step / steps > each for each in HALVINGS)
    moved = {}
    for ball in state.region.scenario.attacked:
        name, clean = ball.modality, state.region.inputs[ball.modality]
        draws = state.draws[name][:, step]
        inside = window(clean.shape[1:], share, draws)
        sign = per_sample(torch.where(draws[:, 2] < 0.5, -1.0, 1.0), clean)
        reach = per_sample((state.strength * ball.radius).to(clean.dtype), clean)
        moved[name] = torch.where(inside, clean + sign * reach, state.at[name])
    return state.region.project(moved, state.strength)


def window(shape: torch.Size, share: float, draws: Tensor) -> Tensor:
    """A contiguous window over the last two axes (the last of a vector), bool (B, *shape)."""
    axes = shape[-2:]
    part = share ** (1 / max(len(axes), 1))
    inside = torch.ones(len(draws), *shape, dtype=torch.bool, device=draws.device)
    for number, length in enumerate(axes):
        width = max(1, math.ceil(part * length))
        first = (draws[:, number] * (length - width + 1)).floor().unsqueeze(1)
        place = torch.arange(length, device=draws.device)
        hit = (place >= first) & (place < first + width)
        axis = len(shape) - len(axes) + number
        inside &= hit.reshape(len(draws), *[1] * axis, length, *[1] * (len(shape) - axis - 1))
    return inside
