"""Token edits: changes of one-hot text that replace one token by another.

Text is a matrix (positions, vocabulary) per sample, each row a one-hot vector. A strength t of
``tokens:r`` allows ⌊t · r⌋ changed rows, so that the critical strength of a sample is a whole
number over r.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.edits.edit import Place
from attacks.edits.subset import SubsetEdit


class Tokens(SubsetEdit):
    """The number of changed rows (the axis before the last)."""

    name = "tokens"
    summary = "characters or tokens replaced, by HotFlip with a beam"

    def fault(self, place: Place) -> str | None:
        x = place.x
        if x.ndim < 3:
            return f"has shape {tuple(x.shape[1:])} per sample, but tokens must be one-hot rows (positions, vocabulary)"
        stray = int((~is_one_hot(x) & (place.low < place.high).any(-1)).sum())
        return f"has {stray} rows that are not one-hot, but tokens must be one-hot" if stray else None

    def axes(self, x: Tensor) -> tuple[int, ...]:
        return (x.ndim - 1,)

    def replaced(self, place: Place, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Each row's best replacement, to first order."""
        rise = gradient - (gradient * place.x).sum(-1, keepdim=True)
        rise = rise.masked_fill(~replacements(place.x, place.low, place.high), float("-inf"))
        gain, token = rise.max(-1, keepdim=True)
        best = torch.zeros_like(place.x).scatter(-1, token, 1.0)
        return best, torch.zeros_like(place.x).scatter(-1, token, gain)


def is_one_hot(x: Tensor) -> Tensor:
    """Which rows (..., vocabulary) hold a single 1 and zeros, bool (...)."""
    return ((x == 0) | (x == 1)).all(-1) & ((x == 1).sum(-1) == 1)


def replacements(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Which tokens may replace a row, bool, of the shape of `x`: those whose one-hot vector lies in
    the range.

    Padding, whose low equals its high, has no replacement. No token replaces itself.
    """
    never_zero = (low > 0) | (high < 0)
    others = never_zero.sum(-1, keepdim=True) - never_zero.long()
    return (low <= 1) & (high >= 1) & (others == 0) & (low < high).any(-1, keepdim=True) & (x != 1)
