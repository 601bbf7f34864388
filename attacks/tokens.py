"""Token edits: changes of one-hot text that put one token in the place of another.

Text is a matrix (positions, vocabulary) per sample, each row a one-hot vector. A strength t of ``tokens:r``
allows ⌊t · r⌋ changed rows, so that the critical strength of a sample is a whole number over r.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Edit(Protocol):
    """A way of changing an input in whole steps. It has a size, as a norm has, but no directions."""

    name: str

    def size(self, delta: Tensor) -> Tensor:
        """How many edits a change of shape (B, ...) takes, per sample, (B,)."""

    def fault(self, x: Tensor, low: Tensor, high: Tensor) -> str | None:
        """Why inputs in these ranges cannot be edited; None if they can."""


class Tokens:
    """The number of changed rows (the axis before the last)."""

    name = "tokens"

    def size(self, delta: Tensor) -> Tensor:
        return (delta != 0).any(-1).flatten(1).sum(1).to(delta.dtype)

    def fault(self, x: Tensor, low: Tensor, high: Tensor) -> str | None:
        if x.ndim < 3:
            return f"has shape {tuple(x.shape[1:])} per sample, and tokens are one-hot rows (positions, vocabulary)"
        stray = int((~is_one_hot(x) & (low < high).any(-1)).sum())
        return f"has {stray} rows that are not one-hot, and tokens are" if stray else None


def is_one_hot(x: Tensor) -> Tensor:
    """Which rows (..., vocabulary) hold a single 1 and zeros, bool (...)."""
    return ((x == 0) | (x == 1)).all(-1) & ((x == 1).sum(-1) == 1)


def replacements(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Which tokens may take a row's place, bool, of the shape of `x`: the range holds their one-hot vector.

    Padding, whose low is its high, has none; no token replaces itself.
    """
    never_zero = (low > 0) | (high < 0)
    others = never_zero.sum(-1, keepdim=True) - never_zero.long()
    return (low <= 1) & (high >= 1) & (others == 0) & (low < high).any(-1, keepdim=True) & (x != 1)


EDITS: dict[str, Edit] = {edit.name: edit for edit in (Tokens(),)}
