"""Perceiver (Jaegle et al., ICML 2021) on point clouds, as in the paper's experiment on ModelNet40:
a token is a point, its coordinates and their Fourier features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.fused import Fused
from harness.models.fusion.perceiver import SPREAD, Perceiver
from harness.tasks import Modality, Task

BANDS, FINEST = 8, 12.0  # frequencies per coordinate, of which the last has so many periods in the range
EMBEDDING = 8  # channels of the modality embedding
CENTRE = 0.5  # of a coordinate, as a share of its range


class Points(nn.Module):
    """Points (B, n, axes) in raw units to tokens (B, n, width): the coordinates in [-1, 1], sin and
    cos of π f times them, and a learned embedding of the modality.
    """

    low: Tensor
    span: Tensor
    frequencies: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("span", high - low, persistent=False)
        self.register_buffer("frequencies", math.pi * torch.linspace(1, FINEST, BANDS), persistent=False)
        self.embedding = nn.Parameter(SPREAD * torch.randn(EMBEDDING))

    def forward(self, points: Tensor) -> Tensor:
        place = 2 * ((points - self.low) / self.span - CENTRE)
        angles = (place[..., None] * self.frequencies).flatten(2)
        return torch.cat([place, angles.sin(), angles.cos(), self.embedding.expand(*place.shape[:2], -1)], 2)


def perceiver_points(task: Task) -> Fused:
    """Perceiver on point clouds: latents cross-attend to points, whose order means nothing.

    Raises:
        BadInput: a modality is no point cloud (n, axes) of a finite range.
    """
    axes = task.modalities[0].shape[-1]
    if strange := [each for each in task.modalities if not _is_cloud(each, axes)]:
        raise BadInput(
            "model 'perceiver-points' reads points (n, axes) of kind features, in a finite range and all with the same"
            f" axes, and modality {strange[0].name!r} of task {task.name!r} is {strange[0].kind} of shape"
            f" {strange[0].shape}: choose model 'perceiver'"
        )
    width = axes * (2 * BANDS + 1) + EMBEDDING
    tokens: dict[str, nn.Module] = {each.name: Points(*each.valid.ends) for each in task.modalities}
    return Fused(task, tokens, Perceiver(width, task.width))


def _is_cloud(modality: Modality, axes: int) -> bool:
    bounded = all(bool(end.isfinite().all()) for end in modality.valid.ends)
    return modality.kind == "features" and modality.shape[1:] == (axes,) and bounded
