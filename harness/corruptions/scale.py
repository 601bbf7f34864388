"""The unit of a corruption's strength: the width of a modality's values, in raw units."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.tasks import Modality

WIDTH = 4.0  # standard deviations: mean ± 2 holds 95 % of a normal sample


def span(x: Tensor, modality: Modality) -> Tensor:
    """The width of the range of values, in the shape of one sample `x`.

    High minus low where the range is finite; elsewhere four standard deviations of the sample's
    values, or the magnitude of the value if all values are equal.
    """
    low, high = ends(x, modality)
    deviation = x.std(correction=0)
    own = torch.where(deviation > 0, WIDTH * deviation, x.abs().mean())
    return torch.where((high - low).isfinite(), high - low, own)


def ends(x: Tensor, modality: Modality) -> tuple[Tensor, Tensor]:
    """Both ends of the valid range, in the shape of one sample."""
    valid = modality.valid.over(x[None])
    return torch.as_tensor(valid.low)[0], torch.as_tensor(valid.high)[0]


def absent(x: Tensor, modality: Modality) -> Tensor:
    """The stand-in of the modality, in the shape of one sample."""
    return modality.stand_in(x[None])[0]


def gaussian(x: Tensor, fraction: float, modality: Modality, generator: torch.Generator) -> Tensor:
    """Gaussian noise whose standard deviation is a fraction of the span."""
    return x + fraction * span(x, modality) * torch.randn(x.shape, generator=generator).to(x)
