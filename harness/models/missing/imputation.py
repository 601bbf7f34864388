"""The baselines of SMIL: zeros, the mean or an autoencoder's guess for the features of a missing
modality.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.models.fused import Fused
from harness.models.missing.completed import AsImputed, completed
from harness.tasks import Task

BOTTLENECK = 64


class Zeros(nn.Module):
    """Zeros."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, observed: Tensor) -> Tensor:
        return observed.new_zeros(len(observed), self.size)

    def fit(self, missing: Tensor) -> None:
        """Nothing to take."""

    def cost(self, observed: Tensor, missing: Tensor) -> Tensor:
        return observed.new_zeros(())


class Mean(nn.Module):
    """The mean features of the complete training samples."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.mean: Tensor

    def forward(self, observed: Tensor) -> Tensor:
        return self.mean.expand(len(observed), -1)

    def fit(self, missing: Tensor) -> None:
        self.mean.copy_(missing.mean(0))

    def cost(self, observed: Tensor, missing: Tensor) -> Tensor:
        return observed.new_zeros(())


class Autoencoder(nn.Module):
    """The other modalities' features through a bottleneck to the missing one's, learned on complete
    samples by mean square error.

    The task's loss neither trains it nor reaches the others through it: it is to guess, not to
    help.
    """

    def __init__(self, observed: int, size: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(observed, BOTTLENECK), nn.ReLU(), nn.Linear(BOTTLENECK, size))

    def forward(self, observed: Tensor) -> Tensor:
        guess: Tensor = self.net(observed)
        return guess.detach() if self.training else guess

    def fit(self, missing: Tensor) -> None:
        """Nothing to take: it learns along with the other networks, whose features it reads."""

    def cost(self, observed: Tensor, missing: Tensor) -> Tensor:
        return F.mse_loss(self.net(observed.detach()), missing)


def zero_imputation(task: Task, missing: str | None = None) -> Fused:
    """SMIL's networks, zeros for the features of a missing sound (or, in a task without one, of the
    last modality).
    """
    return completed(task, missing, lambda observed, size: (Zeros(size), AsImputed()))


def mean_imputation(task: Task, missing: str | None = None) -> Fused:
    """SMIL's networks, the complete training samples' mean for the features of a missing sound (or
    last modality).
    """
    return completed(task, missing, lambda observed, size: (Mean(size), AsImputed()))


def autoencoder_imputation(task: Task, missing: str | None = None) -> Fused:
    """SMIL's networks, an autoencoder's guess from all other features for those of a missing sound
    (or last modality).
    """
    return completed(task, missing, lambda observed, size: (Autoencoder(observed, size), AsImputed()))
