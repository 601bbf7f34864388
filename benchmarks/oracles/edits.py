"""Edits of the input of a linear model, all of them: what each size adds to a wrong class at most,
or in every random draw.

The definitions are those of `attacks.edits`, read anew: no code that chooses or scores an edit is
shared with the search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from attacks.eot import STORED
from attacks.sampling import eot_draws
from attacks.scenario import Ball

GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, eq=False)
class Gains:
    """What edits of one modality add to each wrong class against the right one.

    Attributes:
        sizes: float64 (C,), the first 0.
        gains: float64 (B, K - 1, C, D), in D random draws; one, where edits arrive as they
            were made.
    """

    sizes: Tensor
    gains: Tensor


@dataclass(frozen=True, eq=False)
class Choices:
    """What is left to do after edits: by how much each wrong class is still behind (B, K - 1, C),
    and what the edits take (C,).
    """

    needed: Tensor
    strengths: Tensor


def together(margin: Tensor, edits: Sequence[Gains], balls: Sequence[Ball]) -> Choices:
    """Every combination of edits of several modalities, where each wrong class is `margin` (B, K -
    1) behind untouched.

    In at least half of the draws a sample must fail: the draw that decides counts.
    """
    needed, strengths = margin[:, :, None, None], torch.zeros(1, dtype=torch.float64)
    for each, ball in zip(edits, balls, strict=True):
        needed = (needed[:, :, :, None] - each.gains[:, :, None]).flatten(2, 3)
        strengths = torch.maximum(strengths[:, None], each.sizes / ball.radius).flatten()
    draws = needed.shape[-1]
    assert draws == 1 or margin.shape[1] == 1, (
        "several wrong classes share no direction: only two classes are exact over draws"
    )
    return Choices(needed.kthvalue((draws + 1) // 2, dim=-1).values, strengths)


def choices(ball: Ball, x: Tensor, low: Tensor, high: Tensor, directions: Tensor, samples: Sequence[str]) -> Gains:
    """All that the edits of a ball can do to `x` (B, ...), in the range from low to high;
    directions (B, K - 1, values).
    """
    if ball.norm_name == "stuck":
        return _stuck(ball, x, low, high, directions, samples)
    return KINDS[ball.norm_name](x, low, high, directions.unflatten(2, x.shape[1:]))


def _l0(x: Tensor, low: Tensor, high: Tensor, directions: Tensor) -> Gains:
    """The values add up: the best of each size are those that gain most."""
    up, down = ((directions * (end - x)[:, None]).flatten(2) for end in (high, low))
    return _best_of_each_size(torch.maximum(up, down))


def _dead(x: Tensor, low: Tensor, high: Tensor, directions: Tensor) -> Gains:
    gains = directions * (low - x)[:, None]
    return _best_of_each_size((gains.sum(2) if x.ndim == 4 else gains).flatten(2))


def _tokens(x: Tensor, low: Tensor, high: Tensor, directions: Tensor) -> Gains:
    """The best other token of each position."""
    gains = directions - (directions * x[:, None]).sum(-1, keepdim=True)
    return _best_of_each_size(gains.masked_fill((x == 1)[:, None], float("-inf")).amax(-1).flatten(2))


def _best_of_each_size(gains: Tensor) -> Gains:
    """The largest sums of gains (B, K - 1, G), for each number of groups."""
    best = gains.clamp_min(0).sort(dim=2, descending=True).values.cumsum(2)
    best = torch.cat([torch.zeros_like(best[:, :, :1]), best], 2)
    return Gains(torch.arange(best.shape[2], dtype=torch.float64), best[..., None])


def _shift(x: Tensor, low: Tensor, high: Tensor, directions: Tensor) -> Gains:
    """Every shift, late or early; zeros in the gap."""
    length = x.shape[1]
    steps = [0, *(signed for size in range(1, length) for signed in (size, -size))]
    moved = torch.stack([_moved(x, signed) for signed in steps], 1)
    gains = torch.einsum("bkf,bcf->bkc", directions.flatten(2), (moved - x[:, None]).flatten(2))
    return Gains(torch.tensor(steps, dtype=torch.float64).abs(), gains[..., None])


def _moved(x: Tensor, steps: int) -> Tensor:
    gap = torch.zeros_like(x[:, : abs(steps)])
    return torch.cat([gap, x[:, : x.shape[1] - steps]], 1) if steps >= 0 else torch.cat([x[:, -steps:], gap], 1)


def _stuck(ball: Ball, x: Tensor, low: Tensor, high: Tensor, directions: Tensor, samples: Sequence[str]) -> Gains:
    """Every set of channels: the first axis of three or more, the last of fewer.

    Each holds a drawn share of its range.
    """
    place, directions = x if x.ndim >= 4 else x.movedim(-1, 1), directions.unflatten(2, x.shape[1:])
    channels, axes = place.shape[1], tuple(range(1, x.ndim))
    drawn = eot_draws(ball, samples, 0, STORED).double()[:, :, 0]
    share = (drawn[:, :, None] + GOLDEN * torch.arange(channels)) % 1  # (B, D, channels)
    ends = [torch.where(end.isfinite(), end, most(x, axes)) for end, most in ((low, _least), (high, _most))]
    low, span, directions = ends[0], ends[1] - ends[0], directions if x.ndim >= 4 else directions.movedim(-1, 2)
    low, span = (each if x.ndim >= 4 else each.movedim(-1, 1) for each in (low, span))
    at_low = (directions * (low - place)[:, None])[..., None].flatten(3).sum(3)  # (B, K - 1, channels)
    wide = (directions * span[:, None])[..., None].flatten(3).sum(3)
    single = at_low[:, :, :, None] + wide[:, :, :, None] * share.transpose(1, 2)[:, None]
    sets = torch.tensor(list(product((0.0, 1.0), repeat=channels)), dtype=torch.float64)
    return Gains(sets.sum(1), torch.einsum("sc,bkcd->bksd", sets, single))


def _least(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.amin(axes, keepdim=True).expand_as(x)


def _most(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.amax(axes, keepdim=True).expand_as(x)


KINDS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Gains]] = {
    "l0": _l0,
    "dead": _dead,
    "tokens": _tokens,
    "shift": _shift,
}
