"""The adversarial patch (Brown et al., 2017): a square of free content, printed somewhere in an
image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attacks.edits.edit import Place, Turn

SMALLEST = 0.75  # of the side it has in full, when it is far
BRIGHTNESS = 0.2  # relative change of its light, either way
LONGEST, SHORTEST = 0.15, 0.02  # of the range, one step


class Patch:
    """A square in an image (C, H, W) or (H, W), measured as a share of its area. In a video (C, T,
    H, W) it stays at one place, and its content may differ from frame to frame, as on a screen.

    The attack writes it in the middle. The model receives it at a place drawn uniformly, at 75 to
    100 % of its side, 20 % darker to 20 % brighter, the rest of the image untouched: x' = (1 - m) x
    + m clamp(low + b (p - low)), with m and p moved and scaled by nearest neighbours.
    """

    draws = 4
    kinds: tuple[str, ...] = ("image", "video")

    def __init__(self, name: str, summary: str, shared: bool) -> None:
        self.name, self.summary, self.shared = name, summary, shared

    def fault(self, place: Place) -> str | None:
        if place.x.ndim not in (3, 4, 5):
            shape = tuple(place.x.shape[1:])
            return f"has shape {shape} per sample, but a patch needs an image (C, H, W) or (H, W), or a video"
        if self.shared and not bool((place.low.isfinite() & place.high.isfinite()).all()):
            return "has no finite range, but a patch that all samples share needs one"
        return None

    def size(self, x: Tensor, moved: Tensor) -> Tensor:
        """The area of the smallest square in the middle that holds the changes, as a share of the
        image.
        """
        return self._side(x, moved).double().square() / math.prod(x.shape[-2:])

    def start(self, place: Place, budget: Tensor, chance: Tensor) -> Tensor:
        """Noise over the whole range."""
        low, high = place.ends
        return torch.where(self._square(place.x, self._allowed(place.x, budget)), low + chance * (high - low), place.x)

    def move(self, place: Place, budget: Tensor, turn: Turn) -> Tensor:
        """A step along the gradient's sign inside the square, shorter each time."""
        low, high = place.ends
        length = SHORTEST + (LONGEST - SHORTEST) * (1 + math.cos(math.pi * turn.step / turn.steps)) / 2
        free = torch.minimum(torch.maximum(turn.at + length * (high - low) * turn.gradient.sign(), low), high)
        return torch.where(self._square(place.x, self._allowed(place.x, budget)), free, place.x)

    def received(self, place: Place, moved: Tensor, draw: Tensor) -> Tensor:
        side = self._side(place.x, moved)
        height, width = place.x.shape[-2:]
        low, _ = place.ends
        scale = SMALLEST + (1 - SMALLEST) * draw[:, 2]
        printed = (side * scale).round().clamp_min(1).to(side.dtype)
        rows, row_inside = _source(draw[:, 0], printed, side, height)
        columns, column_inside = _source(draw[:, 1], printed, side, width)
        inside = (row_inside[:, :, None] & column_inside[:, None, :]) & (side > 0)[:, None, None]
        canvas = _planes(moved)
        places = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None].expand(-1, canvas.shape[1], -1)
        content = canvas.flatten(2).gather(2, places).reshape(moved.shape)
        light = (1 + BRIGHTNESS * (2 * draw[:, 3] - 1)).to(moved.dtype).reshape(-1, *[1] * (moved.ndim - 1))
        shown = place.clamp(low + light * (content - low))
        return torch.where(_over(inside, moved), shown, place.x)

    def _allowed(self, x: Tensor, budget: Tensor) -> Tensor:
        """The longest side within a share of the area."""
        height, width = x.shape[-2:]
        return (budget * height * width + 1e-6).sqrt().floor().clamp(max=min(height, width)).long()

    def _square(self, x: Tensor, side: Tensor) -> Tensor:
        """The square in the middle, bool, broadcasting to `x`."""
        inside = torch.ones((), dtype=torch.bool, device=x.device)
        for axis, length in ((-2, x.shape[-2]), (-1, x.shape[-1])):
            within = _covered(length, side)
            inside = inside & (within[:, :, None] if axis == -2 else within[:, None, :])
        return _over(inside, x)

    def _side(self, x: Tensor, moved: Tensor) -> Tensor:
        """The side of the smallest square in the middle that holds every change, (B,); 0 where
        nothing changed.
        """
        changed = _planes(moved != x).any(1)
        side = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        for axis, length in ((2, x.shape[-2]), (1, x.shape[-1])):
            side = torch.maximum(side, torch.where(changed.any(axis), _needed(length, x.device), 0).amax(1))
        return side


def _planes(x: Tensor) -> Tensor:
    """Channels and frames as planes of one kind, (B, N, H, W)."""
    return x[:, None] if x.ndim == 3 else x.flatten(1, -3)


def _over(inside: Tensor, x: Tensor) -> Tensor:
    """Pixels (B, H, W) as a mask for all channels and frames of `x`."""
    return inside.reshape(len(inside), *[1] * (x.ndim - 3), *inside.shape[1:])


def _covered(length: int, side: Tensor) -> Tensor:
    """The positions along one axis that centred squares of these sides (N,) cover, bool (N,
    length).
    """
    first = (length - side)[:, None] // 2
    along = torch.arange(length, device=side.device)[None]
    return (along >= first) & (along < first + side[:, None])


def _needed(length: int, device: torch.device) -> Tensor:
    """Along one axis, the shortest side that covers each position, int64 (length,)."""
    covers = _covered(length, torch.arange(1, length + 1, device=device))
    return (~covers).sum(0) + 1  # the squares are nested


def _source(place: Tensor, printed: Tensor, side: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Along one axis: which position of the middle square each position shows, and whether it shows
    any; (B, length).
    """
    first = ((length - printed + 1) * place).floor().clamp(max=length - 1).long()
    along = torch.arange(length, device=place.device)[None]
    inside = (along >= first[:, None]) & (along < (first + printed)[:, None])
    within = ((along - first[:, None]).double() + 0.5) * (side / printed)[:, None]
    source = (length - side)[:, None] // 2 + within.floor().long()
    return source.clamp(0, length - 1), inside


PATCH = Patch("patch", "a square of any content at a random place, scale and brightness, one per sample", False)
UNIVERSAL = Patch("universal", "the same patch for all samples of a batch", True)
