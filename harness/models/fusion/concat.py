"""Concat fusion: h = MLP(z_1 ⊕ ... ⊕ z_M), a missing modality contributing zeros."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.models.encoders import encoder
from harness.models.fused import Fused, without_missing
from harness.tasks import Task

WIDTH = 64


class Concat(nn.Module):
    """An MLP on the concatenated features, `sizes` numbers per modality."""

    def __init__(self, sizes: Sequence[int], outputs: int, hidden: int = 64) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(sum(sizes), hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        answer: Tensor = self.mlp(torch.cat(without_missing(features, here), dim=1))
        return answer


def over(task: Task, names: Sequence[str]) -> Fused:
    """Concat fusion of the named modalities only."""
    encoders = {name: encoder(task.modality(name), WIDTH) for name in names}
    return Fused(task, encoders, Concat([WIDTH] * len(names), task.width))


def concat(task: Task) -> Fused:
    """Concat fusion: an MLP on the concatenated features of all modalities."""
    return over(task, task.names)
