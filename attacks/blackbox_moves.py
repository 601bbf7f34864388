"""The changes that a search without gradients tries: windows, waves and patterns, by random
numbers of each sample, so that a sample's numbers do not depend on its batch.

`draws` are random numbers in [0, 1) of one query, float (B, N).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attacks.norms import per_sample
from attacks.scenario import Ball
from attacks.square import window

FLAT = 0.3  # the share of waves that are flat
SPIKES = 0.05  # the share of the values that change first in L1
STEPS = (0.6180339887, 0.7548776662, 0.5698402910)  # of sequences of low discrepancy


def chosen(values: Tensor, share: float, draws: Tensor) -> Tensor:
    """A contiguous window, or as many values anywhere, bool (B, ...)."""
    anywhere = torch.remainder(values + per_sample(draws[:, 3], values), 1) < share
    here = window(values.shape[1:], share, draws[:, 1:3])
    return torch.where(per_sample(draws[:, 4] < 0.5, values), anywhere, here)


def wave(shape: torch.Size, draws: Tensor) -> Tensor:
    """The sign of a plane wave of random length along the last two axes."""
    phase = torch.zeros(len(draws), *shape, device=draws.device)
    for number, axis in enumerate(range(max(0, len(shape) - 2), len(shape))):
        rate = 0.5 * shape[axis] ** -draws[:, 9 + number]  # from 1 / (2 length) to a half
        rate = torch.where(draws[:, 11] < FLAT, 0.0, rate)
        phase = phase + per_sample(rate, phase) * _along(shape, axis, draws.device)
    return torch.where(torch.remainder(phase + per_sample(draws[:, 5], phase), 1) < 0.5, -1.0, 1.0)


def pattern(ball: Ball, values: Tensor, number: int, draws: Tensor) -> Tensor:
    """Blocks of random sign, whose size changes from query to query, of unit size."""
    shape = values.shape[1:]
    place = torch.zeros(len(draws), *shape, device=draws.device)
    for axis, length in enumerate(shape):
        halvings = number % (1 + math.ceil(math.log2(max(length, 2))))
        block = max(1, math.ceil(length / 2**halvings)) if axis >= len(shape) - 2 else 1
        place = place + _along(shape, axis, draws.device) // block * STEPS[axis % len(STEPS)]
    scattered = place * (1 + 97 * per_sample(draws[:, 5], place)) + per_sample(draws[:, 6], place)
    signs = torch.where(torch.remainder(scattered, 1) < 0.5, -1.0, 1.0)
    if ball.norm_name == "l1":
        few = torch.remainder(values + per_sample(draws[:, 3], signs), 1) < SPIKES
        signs = torch.where(few, signs, 0.0)
    return unit_change(ball, signs)


def _along(shape: torch.Size, axis: int, device: torch.device) -> Tensor:
    """The number of each place along one axis of (B, *shape)."""
    place = torch.arange(shape[axis], device=device)
    return place.reshape(*[1] * (axis + 1), -1, *[1] * (len(shape) - axis - 1))


def with_window(
    ball: Ball, unit: Tensor, inside: Tensor, aim: Tensor, wave: Tensor, guided: Tensor, draws: Tensor
) -> Tensor:
    """The direction with a window moved to the aim at the edge of the ball, or with a bump."""
    if ball.norm_name == "linf":
        return torch.where(inside, aim, unit)
    bump = unit_change(ball, torch.where(inside, wave, 0.0))
    return unit_change(ball, unit + per_sample(draws[:, 6], unit) * torch.where(guided, aim - unit, bump))


def unit_change(ball: Ball, change: Tensor) -> Tensor:
    """A change of unit norm in the same direction; zero stays."""
    size = ball.norm.size(change)
    return change / per_sample(torch.where(size > 0, size, 1.0), change).to(change.dtype)
