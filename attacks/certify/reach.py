"""What changes below a strength can add to a linear function of the inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attacks.edits import Place, Ranked
from attacks.norms import per_sample
from attacks.region import Region
from attacks.scenario import Ball, Scenario

OUTWARD = 1e-6  # relative, of a radius that is rounded to the precision of the inputs


def unsupported(scenario: Scenario) -> str | None:
    """Why no linear bound covers a scenario; None if one does."""
    for ball in scenario.edits:
        if not isinstance(ball.edit, Ranked) or ball.edit.draws or ball.edit.shared:
            return f"no linear bound covers the edit {ball.norm_name}"
    return None


def steps_below(strength: Tensor, ball: Ball) -> Tensor:
    """The largest whole size of an edit at every strength below this one, (B,)."""
    return ((strength * ball.radius * (1 - 1e-9)).ceil() - 1).clamp_min(0)


@dataclass(frozen=True, eq=False)
class Reach:
    """The inputs that a scenario allows at every strength below `strength`.

    Attributes:
        region: of the scenario, around a batch of clean inputs (B, ...).
        strength: float64 (B,).
    """

    region: Region
    strength: Tensor

    def gained(self, gradients: dict[str, Tensor]) -> Tensor:
        """The most that changes of the attacked modalities add to linear functions.

        Args:
            gradients: S linear functions for each sample, (S, B, ...) per modality.

        Returns:
            (S, B), float64.
        """
        return torch.stack(
            [self._gained(ball, gradients[ball.modality]) for ball in self.region.scenario.attacked]
        ).sum(0)

    def _gained(self, ball: Ball, gradient: Tensor) -> Tensor:
        count, size = gradient.shape[:2]
        weights = gradient.flatten(0, 1)
        if ball.has_norm:
            low, high = (_repeated(end, count) for end in self._room[ball.modality])
            most, _ = ball.norm.support(weights, low, high)((self.strength * ball.radius).repeat(count))
            return most.reshape(count, size)
        edit, place = ball.edit, self.region.place(ball.modality)
        assert isinstance(edit, Ranked)
        sizes = steps_below(self.strength, ball).long()
        groups = min(int(sizes.max()), weights[0].numel())
        place = Place(*(_repeated(each, count) for each in (place.x, place.low, place.high)))
        gains = edit.gains(place, weights, max(groups, 1))
        return gains.gather(1, sizes.clamp(max=gains.shape[1] - 1).repeat(count)[:, None]).reshape(count, size).double()

    @cached_property
    def _room(self) -> dict[str, tuple[Tensor, Tensor]]:
        """How far down and up each value may go."""
        clean, ranges = self.region.inputs, self.region.ranges
        return {name: (valid.low - clean[name], valid.high - clean[name]) for name, valid in ranges.items()}

    def box(self, ball: Ball) -> tuple[Tensor, Tensor]:
        """The least and the largest value that every value of an attacked modality can take, (B,
        ...).
        """
        x, valid = self.region.inputs[ball.modality], self.region.ranges[ball.modality]
        low, high = valid.ends
        if ball.has_norm:
            room = per_sample(self.strength * ball.radius * (1 + OUTWARD), x).to(x.dtype)
            return torch.maximum(x - room, low), torch.minimum(x + room, high)
        edited = per_sample(steps_below(self.strength, ball) > 0, x)
        if ball.norm_name == "tokens":
            low, high = torch.clamp(low, min=0.0), torch.clamp(high, max=1.0)
        return torch.where(edited, torch.minimum(low, x), x), torch.where(edited, torch.maximum(high, x), x)


def _repeated(x: Tensor, count: int) -> Tensor:
    return x.expand(count, *x.shape).flatten(0, 1)


def edges(scenario: Scenario, most: float) -> list[float]:
    """The strengths up to `most` at which an edit of the scenario grows by one step, ascending."""
    found = set()
    for ball in scenario.edits:
        found |= {step / ball.radius for step in range(1, math.floor(most * ball.radius * (1 + 1e-9)) + 1)}
    return sorted(found)
