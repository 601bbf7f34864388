"""Edits that choose groups of values, a number of them, and put something else in their place."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from attacks.edits.edit import Place, Turn

FIRST_SHARE = 0.25  # of the budget, in the first step; all of it from the middle on


class Chosen(ABC):
    """The frame of such edits.

    A first-order gain ranks the groups at every step; the more often a group was chosen without
    success, the less it counts. The size is the number of changed groups.
    """

    draws = 0
    kinds: tuple[str, ...] = ()
    shared = False

    @abstractmethod
    def axes(self, x: Tensor) -> tuple[int, ...]:
        """The axes of (B, ...) along which the values of one group lie."""

    @abstractmethod
    def replaced(self, place: Place, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Every value's replacement, and what each replacement adds to the loss to first order; both (B, ...)."""

    def size(self, x: Tensor, moved: Tensor) -> Tensor:
        return self._grouped(x, (moved != x).double()).gt(0).flatten(1).sum(1).double()

    def start(self, place: Place, budget: Tensor, chance: Tensor) -> Tensor:
        return place.x

    def move(self, place: Place, budget: Tensor, turn: Turn) -> Tensor:
        """The groups of highest gain, fewer of them in the first half of the steps."""
        replaced, gains = self.replaced(place, turn.gradient)
        shaped = self._grouped(place.x, gains)
        gain = shaped.flatten(1)
        axes = self.axes(place.x)
        fresh = (turn.fresh.amin(axes) if axes else turn.fresh).flatten(1)
        gain = torch.where(gain > 0, gain * fresh, gain)
        share = min(1.0, FIRST_SHARE + (1 - FIRST_SHARE) * 2 * turn.step / turn.steps)
        allowed = torch.minimum(budget.floor(), (budget * share).ceil())
        rank = gain.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        chosen = (rank < allowed[:, None]) & (gain > 0)
        return torch.where(chosen.view_as(shaped), replaced, place.x)

    def received(self, place: Place, moved: Tensor, world: Tensor) -> Tensor:
        return moved

    def _grouped(self, x: Tensor, values: Tensor) -> Tensor:
        """Sums over each group; the summed axes are kept with length 1."""
        axes = self.axes(x)
        return values.sum(axes, keepdim=True) if axes else values
