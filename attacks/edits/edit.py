"""The interface of an edit: a change that no norm measures, such as a replaced token, a patch, or a
sound played in a room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Place:
    """Where an edit works: one modality of a batch.

    Attributes:
        x: the untouched values, (B, ...).
        low, high: the valid range, of the same shape; may be infinite.
        eot_draws: the random draws that judge it (B, D, numbers of a draw); None if it has no
            random part.
    """

    x: Tensor
    low: Tensor
    high: Tensor
    eot_draws: Tensor | None = None

    def take(self, rows: Tensor) -> Place:
        return Place(
            self.x[rows], self.low[rows], self.high[rows], None if self.eot_draws is None else self.eot_draws[rows]
        )

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The range; where it has no end, the sample's own extremes."""
        flat = self.x.flatten(1)
        shape = (-1, *[1] * (self.x.ndim - 1))
        least, most = flat.amin(1).reshape(shape), flat.amax(1).reshape(shape)
        return torch.where(self.low.isfinite(), self.low, least), torch.where(self.high.isfinite(), self.high, most)

    def clamp(self, values: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(values, self.low), self.high)


@dataclass(frozen=True, eq=False)
class Turn:
    """One step of an attack, for one modality.

    Attributes:
        at: the values now; `best` is where the loss was highest so far. Both (B, ...).
        gradient: of the loss with respect to `at`, averaged over the steps so far.
        fresh: below 1 where earlier steps have already changed a value, so that other values are
            chosen too.
        step, steps: from 0.
    """

    at: Tensor
    best: Tensor
    gradient: Tensor
    fresh: Tensor
    step: int
    steps: int


def whole(budget: Tensor) -> Tensor:
    """The largest whole size within a budget: of k / r · r, which may round below k, it is k."""
    return (budget * (1 + ROUNDING)).floor()


@runtime_checkable
class Edit(Protocol):
    """A kind of change of an input. Like a norm it has a size, but it has no directions."""

    name: str
    summary: str
    draws: int
    """The number of uniform numbers of one random draw; 0 if the edit has no random part."""

    kinds: tuple[str, ...]
    """The kinds of modality that it is made for (image, audio, text); empty: any."""

    shared: bool
    """Whether one edit serves all samples of a batch."""

    def fault(self, place: Place) -> str | None:
        """Why such inputs cannot be edited; None if they can."""

    def size(self, x: Tensor, moved: Tensor) -> Tensor:
        """How large the edit from `x` to `moved` is, per sample, (B,) in float64; infinite where it
        is not such an edit.
        """

    def start(self, place: Place, budget: Tensor, chance: Tensor) -> Tensor:
        """Where an attack starts: an edit of a size within the budget (B,), by uniform numbers (B,
        ...).
        """

    def move(self, place: Place, budget: Tensor, turn: Turn) -> Tensor:
        """The next edit within the budget."""

    def received(self, place: Place, moved: Tensor, draw: Tensor) -> Tensor:
        """The input that reaches the model in one random draw (B, draws). It is differentiable in
        `moved`, and is `x` where nothing moved.
        """


@runtime_checkable
class Ranked(Edit, Protocol):
    """An edit whose sizes are whole numbers. A gradient tells which edit of a size is best."""

    def gains(self, place: Place, gradient: Tensor, most: int) -> Tensor:
        """The most that edits of the sizes 0, 1, ...

        `most` add to a linear loss with this gradient, (B, most + 1).
        """

    def best_edit(self, place: Place, budget: Tensor, gradient: Tensor) -> Tensor:
        """The edit within the budget (B,) that adds most to it."""
