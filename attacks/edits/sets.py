"""The best sets of groups, where a sample fails if it fails in at least half of the random draws.

The gain of a set in a draw is the sum over its groups. A different draw decides for each set, so
the best set of a size need not hold the groups that are best alone. Small sets grow by a beam
search; larger sets add the groups of highest mean gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

BEAM = 8  # sets that are kept of each size
WIDEST = 32  # groups that a beam chooses from
DEEPEST = 6  # size up to which sets grow by a beam
NEVER = float("-inf")


@dataclass(frozen=True, eq=False)
class Sets:
    """The best set of each size, or a smaller one that gains more.

    Attributes:
        gains: of the sizes 0, 1, ... `most`, never falling, float64 (B, most + 1).
        sizes: of the sets that gain that much, int64 (B, most + 1).
        grown: the sets that the beam found, of the sizes 0, 1, ..., bool (B, sizes, G).
    """

    gains: Tensor
    sizes: Tensor
    grown: Tensor

    def within(self, size: Tensor) -> Tensor:
        """The best set of at most so many groups, (B,), as a mask (B, G)."""
        row = torch.arange(len(size), device=size.device)
        taken, last = self.sizes[row, size.long().clamp(max=self.sizes.shape[1] - 1)], self.grown.shape[1] - 1
        held = self.grown[row, taken.clamp(max=last)]
        return held | (((~held).cumsum(1) <= (taken - last)[:, None]) & ~held)


def sets_of(gains: Tensor, most: int) -> Sets:
    """The best sets of up to `most` groups.

    Args:
        gains: the gain of each group in each draw, float64 (B, G, D), the groups of highest mean
            gain first.
    """
    count = gains.shape[1]
    largest, widest = min(most, count), min(WIDEST, count)
    sums, grown = _grown(gains[:, :widest], min(largest, DEEPEST))
    grown = F.pad(grown, (0, count - widest))
    last = grown.shape[1] - 1
    rest = (~grown[:, -1]).to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, : largest - last]
    found = decisive(torch.cat([sums, sums[:, -1:] + gains.gather(1, _over(rest, gains)).cumsum(1)], 1))
    best = F.pad(found, (0, most - largest), mode="replicate").cummax(1)
    return Sets(best.values, best.indices.clamp(max=largest), grown)


def decisive(gains: Tensor) -> Tensor:
    """The gain that at least half of the draws reach, (..., D) -> (...)."""
    draws = gains.shape[-1]
    return gains.kthvalue(draws - draws // 2 + 1, dim=-1).values


def _grown(gains: Tensor, deepest: int) -> tuple[Tensor, Tensor]:
    """The best set of each size that a beam search finds: its gain (B, deepest + 1, D), and its
    groups (B, deepest + 1, G).
    """
    count, device = gains.shape[1], gains.device
    bits = torch.ones((), dtype=torch.int64, device=device) << torch.arange(count, device=device)
    sums, codes = torch.zeros_like(gains[:, :1]), torch.zeros(len(gains), 1, dtype=torch.int64, device=device)
    best = [(sums[:, 0], codes[:, 0])]
    for _ in range(deepest):
        held = ((codes[:, :, None] & bits) > 0).flatten(1)
        codes = (codes[:, :, None] | bits).flatten(1)
        larger = (
            (sums[:, :, None] + gains[:, None])
            .flatten(1, 2)
            .masked_fill((held | _seen_before(codes))[:, :, None], NEVER)
        )
        place = decisive(larger).topk(min(BEAM, larger.shape[1]), dim=1).indices
        sums, codes = larger.gather(1, _over(place, larger)), codes.gather(1, place)
        best.append((sums[:, 0], codes[:, 0]))
    chosen = torch.stack([code for _, code in best], 1)
    return torch.stack([total for total, _ in best], 1), (chosen[:, :, None] & bits) > 0


def _seen_before(codes: Tensor) -> Tensor:
    """Which of the codes (B, n) are repeats of another, bool (B, n)."""
    ordered = codes.sort(dim=1, stable=True)
    again = torch.zeros_like(codes, dtype=torch.bool)
    again[:, 1:] = ordered.values[:, 1:] == ordered.values[:, :-1]
    return torch.zeros_like(again).scatter(1, ordered.indices, again)


def _over(index: Tensor, like: Tensor) -> Tensor:
    """An index (B, n) for `gather` along the second axis of (B, m, D)."""
    return index[:, :, None].expand(*index.shape, like.shape[2])
