"""Corruptions of a video (C, T, H, W) along its time."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.corruptions.scale import absent
from harness.tasks import Modality

# One value per severity, 1 to 5.
RATES = (0.05, 0.1, 0.2, 0.35, 0.5)  # chance of each frame
SLOWER = (1.1, 1.25, 1.5, 2.0, 3.0)  # times the clip's length
JITTER = (0.05, 0.1, 0.2, 0.4, 1.0)  # how far a frame may move, as a share of the clip
LOST = (0.1, 0.2, 0.3, 0.5, 0.7)  # of the clip
SHIFT = (0.02, 0.05, 0.1, 0.2, 0.3)  # of the clip, as for a sound
TIME = 1  # the axis


def drop(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Frames are lost, each with a chance of 5 to 50 %, and hold the absent value."""
    return torch.where(_places(_struck(x, severity, generator), x), absent(x, modality), x)


def freeze(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Frames do not arrive, each with a chance of 5 to 50 %: the last one that did stays."""
    arrived = ~_struck(x, severity, generator)
    arrived[0] = True
    shown = torch.where(arrived, torch.arange(len(arrived)), 0).cummax(0).values
    return x[:, shown.to(x.device)]


def repeat(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """The clip runs 1.1 to 3 times slower: frames are repeated, and its end is lost."""
    shown = (torch.arange(x.shape[TIME]) / SLOWER[severity - 1]).long()
    return x[:, shown.to(x.device)]


def reorder(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Frames arrive late, each by a random time of up to 5 to 100 % of the clip, and are shown as
    they arrive.
    """
    late = torch.rand(x.shape[TIME], generator=generator) * JITTER[severity - 1] * x.shape[TIME]
    order = (torch.arange(x.shape[TIME]) + late).argsort(stable=True)
    return x[:, order.to(x.device)]


def swap(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Frames change places with any other, each with a chance of 5 to 50 %."""
    frames = x.shape[TIME]
    draws, partners = torch.rand(2, frames, generator=generator)
    order = torch.arange(frames)
    for place in (draws < RATES[severity - 1]).nonzero().squeeze(1).tolist():
        other = int(partners[place] * frames)
        order[[place, other]] = order[[other, place]]
    return x[:, order.to(x.device)]


def gap(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """A run of frames at a random place is lost, 10 to 70 % of the clip, and holds the absent
    value.
    """
    frames = x.shape[TIME]
    length = max(1, round(LOST[severity - 1] * frames))
    start = int(float(torch.rand((), generator=generator)) * (frames - length + 1))
    place = torch.arange(frames)
    return torch.where(_places((place >= start) & (place < start + length), x), absent(x, modality), x)


def shift(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """The clip starts earlier or later than the other modalities by 2 to 30 % of its length; the
    gap holds the absent value.
    """
    sign = 1 if float(torch.rand((), generator=generator)) < 0.5 else -1
    step = max(1, round(SHIFT[severity - 1] * x.shape[TIME]))
    empty = torch.arange(x.shape[TIME]) < step
    moved = x.roll(sign * step, TIME)
    return torch.where(_places(empty if sign > 0 else empty.flip(0), x), absent(x, modality), moved)


def _struck(x: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Bool (T,)."""
    return torch.rand(x.shape[TIME], generator=generator) < RATES[severity - 1]


def _places(frames: Tensor, x: Tensor) -> Tensor:
    """Frames (T,) as a mask (1, T, 1, 1) of the video."""
    return frames[None, :, None, None].to(x.device)
