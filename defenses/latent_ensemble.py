"""Latent ensemble layer, LEL (Kim & Ghosh, On single source robustness in deep fusion models,
NeurIPS 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.encoders import encoder
from harness.models.fused import Fused, without_missing
from harness.tasks import Task

WIDTH, HIDDEN = 64, 64
SPARSITY = 0.01


class LatentEnsemble(nn.Module):
    """⊕z → linear → batch norm → ReLU, and a linear map of it; few weights of the first are to be
    large.

    Args:
        sparsity: the weight of the L1 norm of the first linear map in the loss.
    """

    def __init__(
        self, size: int, modalities: int, outputs: int, hidden: int = HIDDEN, sparsity: float = SPARSITY
    ) -> None:
        super().__init__()
        self.sparsity = sparsity
        self.mix = nn.Linear(size * modalities, hidden, bias=False)  # the norm that follows has one
        self.head = nn.Sequential(nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.mix(torch.cat(without_missing(features, here), dim=1)))
        return outputs

    def penalty(self) -> Tensor:
        """The L1 norm of the mixing weights, weighted."""
        return self.sparsity * self.mix.weight.abs().sum()


def latent_ensemble(task: Task) -> Fused:
    """Latent ensemble layer: a sparse linear mix of the concatenated features, batch norm, ReLU
    (NeurIPS 2019).
    """
    encoders = {modality.name: encoder(modality, WIDTH) for modality in task.modalities}
    return Fused(task, encoders, LatentEnsemble(WIDTH, len(encoders), task.width))
