"""A few values, pixels or channels changed: L0, and faults of a sensor."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.edits.edit import Place, whole
from attacks.edits.sets import WIDEST, sets_of
from attacks.edits.subset import SubsetEdit

GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly


class Features(SubsetEdit):
    """L0: the number of changed values; each may go to either end of its range."""

    name = "l0"
    summary = "single values moved to an end of their range"

    def axes(self, x: Tensor) -> tuple[int, ...]:
        return ()

    def fault(self, place: Place) -> str | None:
        return (
            None
            if bool((place.low.isfinite() & place.high.isfinite()).all())
            else "has no finite range, but in L0 a value may move anywhere in its range"
        )

    def replaced(self, place: Place, gradient: Tensor) -> tuple[Tensor, Tensor]:
        end = torch.where(gradient > 0, place.high, place.low)
        return end, gradient * (end - place.x)


class DeadPixels(SubsetEdit):
    """Pixels that stay dark: the number of image positions set to the low end of the range, in
    every channel.
    """

    name = "dead"
    summary = "pixels that stay dark, where they hurt most"
    kinds: tuple[str, ...] = ("image",)

    def axes(self, x: Tensor) -> tuple[int, ...]:
        return (1,) if x.ndim == 4 else ()

    def fault(self, place: Place) -> str | None:
        if place.x.ndim not in (3, 4):
            return f"has shape {tuple(place.x.shape[1:])} per sample, but dead pixels need an image (C, H, W) or (H, W)"
        return (
            None
            if bool(place.low.isfinite().all())
            else "has a range without a finite low end, but a dead pixel holds that value"
        )

    def replaced(self, place: Place, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return place.low, gradient * (place.low - place.x)


class StuckChannels(SubsetEdit):
    """The number of channels that hold one value, whatever they should show.

    The value is random: the adversary does not choose it.

    A channel is the first of three or more axes of a sample (C, H, W), the last of fewer (a
    feature, a column). An edited channel is written as all low or all high, whichever is farther;
    the model receives the value drawn from the range (where it has no end, from the sample's
    values).
    """

    name = "stuck"
    summary = "channels that hold one value, drawn from their range"
    draws = 1

    def axes(self, x: Tensor) -> tuple[int, ...]:
        channel = 1 if x.ndim >= 4 else x.ndim - 1
        return tuple(axis for axis in range(1, x.ndim) if axis != channel)

    def fault(self, place: Place) -> str | None:
        return None

    def replaced(self, place: Place, gradient: Tensor) -> tuple[Tensor, Tensor]:
        low, high = place.ends
        middle = (low + high) / 2
        centre = self._grouped(place.x, place.x - middle)
        return torch.where(centre > 0, low, high).expand_as(place.x), gradient * (middle - place.x)

    def gains(self, place: Place, gradient: Tensor, most: int) -> Tensor:
        return sets_of(self._likely(place, gradient, most)[1], most).gains

    def best_edit(self, place: Place, budget: Tensor, gradient: Tensor) -> Tensor:
        replaced, gains = self.replaced(place, gradient)
        most, shaped = int(whole(budget).max()), self._grouped(place.x, gains)
        channels, likely = self._likely(place, gradient, most)
        held = sets_of(likely, most).within(whole(budget))
        stuck = torch.zeros_like(shaped.flatten(1), dtype=torch.bool).scatter(1, channels, held)
        return torch.where(stuck.view_as(shaped), replaced, place.x)

    def _likely(self, place: Place, gradient: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """The channels of highest mean gain (B, n), and the first-order gain of each in the loss,
        in each random draw, (B, n, D).
        """
        assert place.eot_draws is not None, "stuck channels are judged over random draws"
        low, high = place.ends
        at_low, wide = (
            self._grouped(place.x, gradient * each).flatten(1).double() for each in (low - place.x, high - low)
        )
        channels = (at_low + wide / 2).topk(min(at_low.shape[1], max(WIDEST, most)), dim=1).indices
        share = _shares(place.eot_draws.transpose(1, 2), channels[:, :, None])
        return channels, at_low.gather(1, channels)[:, :, None] + wide.gather(1, channels)[:, :, None] * share

    def received(self, place: Place, moved: Tensor, draw: Tensor) -> Tensor:
        """Stuck channels hold low + u (high - low), with another uniform u for each; the gradient
        is that of a channel that moves.
        """
        low, high = place.ends
        changed = self._grouped(place.x, (moved != place.x).to(moved.dtype)) > 0
        number = torch.arange(changed[0].numel(), device=moved.device).view(1, *changed.shape[1:])
        share = _shares(draw[:, 0].reshape(-1, *[1] * (moved.ndim - 1)), number).to(moved.dtype)
        stuck = (low + share * (high - low)) + (moved - moved.detach())
        return torch.where(changed, stuck, moved)


def _shares(drawn: Tensor, channel: Tensor) -> Tensor:
    """How far up its range each channel is stuck in a draw."""
    return (drawn + GOLDEN * channel) % 1
