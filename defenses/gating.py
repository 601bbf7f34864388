"""Gated fusion (Kim et al., Robust deep multi-modal learning based on gated information fusion
network, ACCV 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.encoders import encoder
from harness.models.fused import Fused, without_missing
from harness.tasks import Task

WIDTH, HIDDEN = 64, 64


class Gating(nn.Module):
    """w = σ(linear of ⊕z), one gate per modality; a linear mix of the gated features w_m · z_m,
    ReLU, and a linear map of it.
    """

    def __init__(self, size: int, modalities: int, outputs: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.gates = nn.Linear(size * modalities, modalities)
        self.mix = nn.Sequential(nn.Linear(size * modalities, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        seen = without_missing(features, here)
        gates = self.gates(torch.cat(seen, dim=1)).sigmoid()
        outputs: Tensor = self.mix(
            torch.cat([z * gate[:, None] for z, gate in zip(seen, gates.unbind(1), strict=True)], dim=1)
        )
        return outputs


def gating(task: Task) -> Fused:
    """Gated fusion: the features of each modality times a gate that all of them set (ACCV 2018)."""
    encoders = {modality.name: encoder(modality, WIDTH) for modality in task.modalities}
    return Fused(task, encoders, Gating(WIDTH, len(encoders), task.width))
