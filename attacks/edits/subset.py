"""Edits that choose some groups of values and replace them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.edits.edit import Place, Turn, whole

FIRST_SHARE = 0.25  # of the budget, in the first step; all of it from the middle on


class SubsetEdit(ABC):
    """The common part of such edits.

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
        """The replacement of every value, and its first-order gain in the loss; both (B, ...)."""

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
        allowed = torch.minimum(whole(budget), (budget * share).ceil())
        return torch.where(_best(gain, allowed).view_as(shaped), replaced, place.x)

    def gains(self, place: Place, gradient: Tensor, most: int) -> Tensor:
        gain = self._grouped(place.x, self.replaced(place, gradient)[1]).flatten(1).clamp_min(0)
        found = gain.topk(min(most, gain.shape[1]), dim=1).values.cumsum(1)
        return F.pad(F.pad(found, (1, 0)), (0, most - found.shape[1]), mode="replicate")

    def best_edit(self, place: Place, budget: Tensor, gradient: Tensor) -> Tensor:
        replaced, gains = self.replaced(place, gradient)
        shaped = self._grouped(place.x, gains)
        return torch.where(_best(shaped.flatten(1), whole(budget)).view_as(shaped), replaced, place.x)

    def received(self, place: Place, moved: Tensor, draw: Tensor) -> Tensor:
        return moved

    def _grouped(self, x: Tensor, values: Tensor) -> Tensor:
        """Sums over each group; the summed axes are kept with length 1."""
        axes = self.axes(x)
        return values.sum(axes, keepdim=True) if axes else values


def _best(gain: Tensor, allowed: Tensor) -> Tensor:
    """The groups (B, G) of highest gain: this many of them (B,), and only groups with a gain,
    bool.
    """
    rank = gain.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (rank < allowed[:, None]) & (gain > 0)
