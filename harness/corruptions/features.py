"""Corruptions of a feature vector, or features of any shape."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.corruptions.scale import absent, gaussian
from harness.tasks import Modality

# One value per severity, 1 to 5.
NOISE = (0.04, 0.08, 0.12, 0.18, 0.26)  # standard deviation, of the span
DROPOUT = (0.1, 0.2, 0.35, 0.5, 0.7)  # chance of each feature to be lost


def noise(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Gaussian noise, 4 to 26 % of the range, or of four standard deviations of the sample."""
    return gaussian(x, NOISE[severity - 1], modality, generator)


def dropout(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Features are lost, each with a chance of 10 to 70 %, and hold the absent value."""
    lost = torch.rand(x.shape, generator=generator) < DROPOUT[severity - 1]
    return torch.where(lost.to(x.device), absent(x, modality), x)
