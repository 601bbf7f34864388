"""Mean fusion: h(mean of z_m), over the modalities that are present."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attacks.norms import per_sample
from harness.models.encoders import encoder
from harness.models.fused import Fused, without_missing
from harness.tasks import Task

WIDTH = 64


class Mean(nn.Module):
    """An MLP on the mean of the present features, all of width `size`; zeros if none is present."""

    def __init__(self, size: int, outputs: int, hidden: int = 64) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        answer: Tensor = self.mlp(mean_of_present(features, here))
        return answer


def mean_of_present(features: list[Tensor], here: Tensor) -> Tensor:
    """The mean (B, ...) of the features that are present, all of one shape; zero where none is."""
    total = torch.stack(without_missing(features, here)).sum(0)
    return total / per_sample(here.sum(1).clamp_min(1), total)


def mean(task: Task) -> Fused:
    """Mean fusion: an MLP on the mean of the features that are present."""
    encoders = {modality.name: encoder(modality, WIDTH) for modality in task.modalities}
    return Fused(task, encoders, Mean(WIDTH, task.width))
