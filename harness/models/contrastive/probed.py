"""Encoders with a linear probe, and the heads that pretraining needs and evaluation does not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.encoders import encoder
from harness.models.fused import Fused, without_missing
from harness.tasks import Task

WIDTH, HIDDEN = 128, 256
SIMCLR_OUT, BYOL_OUT = 128, 256


class Probe(nn.Module):
    """A linear map of the concatenated features; beside it a projector per modality and, of BYOL, a predictor.

    Args:
        projectors: map features (B, 128) to projections (B, D), in the order of the encoders.
    """

    def __init__(self, modalities: int, outputs: int, projectors: Sequence[nn.Module], predictor: nn.Module | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH * modalities, outputs)
        self.projectors = nn.ModuleList(projectors)
        self.predictor = predictor

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        logits: Tensor = self.linear(torch.cat(without_missing(features, here), dim=1))
        return logits


def projector(out: int, hidden: int = HIDDEN, last_norm: bool = False, norm: bool = True) -> nn.Sequential:
    """Two layers, batch norm and ReLU between them; SimCLR's ends in a batch norm as well."""
    between = [nn.BatchNorm1d(hidden)] if norm else []
    end = [nn.BatchNorm1d(out)] if last_norm and norm else []
    return nn.Sequential(nn.Linear(WIDTH, hidden), *between, nn.ReLU(), nn.Linear(hidden, out), *end)


def predictor(norm: bool = True) -> nn.Sequential:
    """BYOL's, of the projections' size."""
    between = [nn.BatchNorm1d(HIDDEN)] if norm else []
    return nn.Sequential(nn.Linear(BYOL_OUT, HIDDEN), *between, nn.ReLU(), nn.Linear(HIDDEN, BYOL_OUT))


def probed(task: Task, names: Sequence[str], heads: Sequence[nn.Module], predicts: nn.Module | None = None) -> Fused:
    """The encoders of these modalities under a linear probe."""
    encoders = {name: encoder(task.modality(name), WIDTH) for name in names}
    return Fused(task, encoders, Probe(len(names), task.problem.width, heads, predicts))


def probe_of(model: nn.Module) -> Probe:
    """The heads of a model that has them.

    Raises:
        BadInput: it has none.
    """
    fusion = model.fusion if isinstance(model, Fused) else None
    if not isinstance(fusion, Probe):
        raise BadInput(
            "this recipe trains encoders under a linear probe, which this model is not: train simclr-image, byol-image or infonce"
        )
    return fusion
