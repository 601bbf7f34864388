"""CEN, channel exchanging networks (Wang et al., NeurIPS 2020), for segmentation: modalities share
every convolution, and swap the channels that their own norms have switched off.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.dense.branches import ENSEMBLE, Ensembled, branched
from harness.models.dense.exchange import exchanged, penalised, share
from harness.models.dense.refinenet import DecoderName
from harness.models.dense.resnet import Bottleneck, Maps, Place, SizeName, rectified
from harness.models.fused import Fused
from harness.models.option_types import NotNegative
from harness.models.recipe import Stage
from harness.tasks import Batch, Task

THRESHOLD = 2e-2
SPARSITY = 5e-3
START = 0.15  # of γ: from 1, as usual, it would not fall to the threshold in the epochs of a small training


class Exchanging(Bottleneck):
    """A bottleneck that exchanges channels after its second norm, and nowhere else.

    Args:
        threshold: θ; a channel with |γ| < θ takes the mean of the other modalities.
        sparsity: λ, the weight of the L1 norm of γ.
    """

    def __init__(self, place: Place, threshold: float, sparsity: float) -> None:
        super().__init__(place)
        self.threshold, self.sparsity = threshold, sparsity
        for gamma in self.gammas():
            nn.init.constant_(gamma, START)

    def gammas(self) -> list[Tensor]:
        """The scales γ (inner,) of the second norm of each branch."""
        return [norm.get_parameter("weight") for norm in self.middle.norms]

    def inside(self, maps: Maps, here: Tensor) -> Maps:
        """The exchange stands between the norm and its ReLU."""
        return rectified(exchanged(self.middle(maps), self.gammas(), self.threshold, here))

    def penalty(self) -> Tensor:
        """λ Σ|γ| over the private channels of each branch, a scalar."""
        return self.sparsity * penalised(self.gammas())

    def shares(self) -> list[float]:
        """The share of channels that each branch takes from the others."""
        if len(self.gammas()) == 1:
            return [0.0]
        return [share(gamma, self.threshold) for gamma in self.gammas()]


def exchanges(model: nn.Module) -> dict[str, Exchanging]:
    """The bottlenecks that exchange, by stage and row as ``3.2``."""
    found = [(name.split(".")[-2:], part) for name, part in model.named_modules() if isinstance(part, Exchanging)]
    return {f"{int(stage) + 1}.{int(row) + 1}": part for (stage, row), part in found}


class Cen(Ensembled):
    """The losses of recipe asymfusion, and the L1 norm of the scales γ.

    The checkpoint card shows the share of channels that are exchanged in each layer. The batch
    norms learn their statistics; the paper's are frozen at ImageNet's.
    """

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage over all parameters.

        Raises:
            BadInput: the model exchanges no channels.
        """
        stages = super().setup(model, task, epochs)
        if not exchanges(model):
            raise BadInput("recipe 'cen' needs a model that exchanges channels: train model 'cen'")
        return stages

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The summed losses; the penalty counts once for each output, as in the reference code."""
        penalties = [each.penalty() for each in exchanges(self.model).values()]
        return super().step(batch, stage) + (1 + len(self.task.names)) * torch.stack(penalties).sum()

    def measured(self, test: Batch) -> dict[str, float]:
        """The share of channels that each modality takes from the others, per exchanging layer."""
        return {
            f"exchanged {layer} {name}": share
            for layer, each in exchanges(self.model).items()
            for name, share in zip(self.task.names, each.shares(), strict=True)
        }


def cen(
    task: Task,
    threshold: NotNegative = THRESHOLD,
    sparsity: NotNegative = SPARSITY,
    size: SizeName = "small",
    decoder: DecoderName = "refinenet",
    read: str = ENSEMBLE,
) -> Fused:
    """CEN: one network with private norms; modalities exchange channels (recipe cen).

    Channels are exchanged where the scale γ of their norm is small.

    Args:
        threshold: θ.
        sparsity: λ; the paper's is 2e-4, with ImageNet's weights and 300 epochs.
        read: the ensemble, or the modality whose branch answers, from the same weights.

    Raises:
        BadInput: the task asks for no map, or a modality is no image that fits.
    """
    return branched(task, lambda place: Exchanging(place, threshold, sparsity), size, decoder, read)
