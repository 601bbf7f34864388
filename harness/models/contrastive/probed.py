"""Encoders with a linear probe, and the heads that pretraining needs and evaluation does not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.models.encoders import centred, convolved, encoder
from harness.models.fused import Fused, without_missing
from harness.tasks import Modality, Task
from harness.tasks.axes import channels

WIDTH, HIDDEN = 128, 256
SIMCLR_OUT, BYOL_OUT = 128, 256


class Probe(nn.Module):
    """A linear map of the concatenated features; beside it a projector per modality and, of BYOL, a
    predictor.

    Args:
        projectors: map features (B, 128) to projections (B, D), in the order of the encoders.
    """

    def __init__(
        self, modalities: int, outputs: int, projectors: Sequence[nn.Module], predictor: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH * modalities, outputs)
        self.projectors = nn.ModuleList(projectors)
        self.predictor = predictor

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        logits: Tensor = self.linear(torch.cat(without_missing(features, here), dim=1))
        return logits


class Probed(Fused):
    """Encoders under a linear probe, with an embedding: their features, which the probe reads."""

    def embed(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """(B, 128 per modality); a missing modality's part is zero."""
        features, here = self.ordered({name: self.encode(name, inputs[name]) for name in self.encoded}, present)
        return torch.cat(without_missing(features, here), dim=1)


def projector(out: int, hidden: int = HIDDEN, last_norm: bool = False, norm: bool = True) -> nn.Sequential:
    """Two layers, batch norm and ReLU between them; SimCLR's ends in a batch norm as well."""
    between = [nn.BatchNorm1d(hidden)] if norm else []
    end = [nn.BatchNorm1d(out)] if last_norm and norm else []
    return nn.Sequential(nn.Linear(WIDTH, hidden), *between, nn.ReLU(), nn.Linear(hidden, out), *end)


def predictor(norm: bool = True) -> nn.Sequential:
    """BYOL's, of the projections' size."""
    between = [nn.BatchNorm1d(HIDDEN)] if norm else []
    return nn.Sequential(nn.Linear(BYOL_OUT, HIDDEN), *between, nn.ReLU(), nn.Linear(HIDDEN, BYOL_OUT))


def backbone(modality: Modality) -> nn.Module:
    """An encoder (B, 128); of images three convolutions with batch norms, as pretraining without
    labels needs them.

    A quarter of the picture's size after two of them, four parts of it pooled: on MNIST 2.4 MFLOPs,
    where `encoder` takes 15.
    """
    if modality.kind != "image":
        return encoder(modality, WIDTH)
    blocks = [
        part for sizes in ((channels(modality.shape), 16, 2), (16, 32, 2), (32, 64, 1)) for part in convolved(*sizes)
    ]
    return nn.Sequential(*centred(modality), *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * 64, WIDTH))


def probed(task: Task, names: Sequence[str], heads: Sequence[nn.Module], predicts: nn.Module | None = None) -> Probed:
    """The encoders of these modalities under a linear probe."""
    encoders = {name: backbone(task.modality(name)) for name in names}
    return Probed(task, encoders, Probe(len(names), task.width, heads, predicts))


def probe_of(model: nn.Module) -> Probe:
    """The heads of a model that has them.

    Raises:
        BadInput: it has none.
    """
    fusion = model.fusion if isinstance(model, Fused) else None
    if not isinstance(fusion, Probe):
        raise BadInput(
            "this recipe trains encoders under a linear probe, which this model is not: train simclr-image, byol-image"
            " or infonce"
        )
    return fusion
