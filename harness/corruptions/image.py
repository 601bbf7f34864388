"""Corruptions of an image (C, H, W) or (H, W), after Hendrycks and Dietterich, ICLR 2019."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.corruptions.scale import absent, ends, gaussian, span
from harness.tasks import Modality

# One value per severity, 1 to 5.
NOISE = (0.04, 0.08, 0.12, 0.18, 0.26)  # standard deviation, of the span
BLUR = (0.4, 0.6, 0.8, 1.0, 1.3)  # standard deviation, in pixels of an image of REFERENCE pixels
OCCLUSION = (0.2, 0.35, 0.5, 0.6, 0.75)  # side of the hidden square, as a share of the image's side
CONTRAST = (0.75, 0.5, 0.3, 0.15, 0.05)  # the factor for the distance to the mean
LEVELS = (16, 8, 5, 3, 2)  # how many different values are left
SHIFT = (0.05, 0.1, 0.15, 0.2, 0.3)  # of each side
REFERENCE = 32


def noise(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Gaussian noise in every pixel, 4 to 26 % of the range."""
    return gaussian(x, NOISE[severity - 1], modality, generator)


def blur(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Gaussian blur, 0.4 to 1.3 pixels on a side of up to 32, in proportion on larger images."""
    deviation = BLUR[severity - 1] * max(1.0, min(x.shape[-2:]) / REFERENCE)
    rows, columns = (_smoothing(side, deviation).to(x) for side in x.shape[-2:])
    return rows @ x @ columns.T


def _smoothing(side: int, deviation: float) -> Tensor:
    """The matrix (side, side) that blurs one axis; weights that fall outside are given to the
    rest.
    """
    place = torch.arange(side, dtype=torch.float64)
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * deviation**2))
    return weights / weights.sum(1, keepdim=True)


def occlusion(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """One rectangle at a random place holds the absent value, 20 to 75 % of each side."""
    hidden = torch.ones(x.shape[-2:], dtype=torch.bool)
    for axis, draw in enumerate(torch.rand(2, generator=generator).tolist()):
        size = x.shape[axis - 2]
        length = max(1, round(OCCLUSION[severity - 1] * size))
        start = int(draw * (size - length + 1))
        inside = (torch.arange(size) >= start) & (torch.arange(size) < start + length)
        hidden &= inside[:, None] if axis == 0 else inside
    return torch.where(hidden.to(x.device), absent(x, modality), x)


def contrast(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Every pixel moves towards its channel's mean; 75 to 5 % of the distance is left."""
    mean = x.mean((-2, -1), keepdim=True)
    return mean + CONTRAST[severity - 1] * (x - mean)


def quantisation(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Values are rounded to 16, 8, 5, 3 or 2 evenly spaced ones over the range.

    Where the range is infinite, the grid lies around the sample's mean.
    """
    width, (low, _) = span(x, modality), ends(x, modality)
    step = (width / (LEVELS[severity - 1] - 1)).clamp_min(torch.finfo(x.dtype).tiny)
    origin = torch.where(low.isfinite(), low, x.mean() - width / 2)
    return origin + ((x - origin) / step).round() * step


def shift(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """The image moves against the other modalities by 5 to 30 % of each side, in one of four
    directions; the gap holds the absent value.
    """
    moved, empty = x, torch.zeros(x.shape[-2:], dtype=torch.bool)
    for axis, draw in zip((-2, -1), torch.rand(2, generator=generator).tolist(), strict=True):
        step = max(1, round(SHIFT[severity - 1] * x.shape[axis]))
        gap = torch.arange(x.shape[axis]) < step
        gap = gap if draw < 0.5 else gap.flip(0)
        moved = moved.roll(step if draw < 0.5 else -step, axis)
        empty |= gap[:, None] if axis == -2 else gap
    return torch.where(empty.to(x.device), absent(x, modality), moved)
