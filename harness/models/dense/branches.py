"""Branches of one network, one for each modality, and the ensemble of their answers: what CEN and
AsymFusion share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.dense.convnet import map_of
from harness.models.dense.exchange import ensembled
from harness.models.dense.refinenet import DecoderName, Network, Plan, tiled
from harness.models.dense.resnet import SIZES, Bottleneck, Maps, Place, SizeName
from harness.models.fused import Fused, without_missing
from harness.models.recipe import Stage
from harness.models.scheduled import Scheduled
from harness.tasks import Batch, Task

ENSEMBLE = "ensemble"


class Branches(nn.Module):
    """A network run on every modality, and the sum of their logits, weighted by softmax(α).

    A missing modality has no weight; where all are missing, the logits are zeros.

    Args:
        read: the branch that answers, by its place; None for the ensemble.
    """

    def __init__(self, network: Network, count: int, read: int | None = None) -> None:
        super().__init__()
        self.network, self.read = network, read
        self.alpha = nn.Parameter(torch.zeros(count))

    def forward(self, features: Maps, here: Tensor) -> Tensor:
        logits = self.branches(features, here)
        return self.ensemble(logits, here) if self.read is None else without_missing(logits, here)[self.read]

    def branches(self, features: Maps, here: Tensor) -> Maps:
        """The logits (B, classes, H, W) of each branch."""
        logits: Maps = self.network(without_missing(features, here), here)
        return logits

    def ensemble(self, logits: Maps, here: Tensor) -> Tensor:
        """The weighted sum (B, classes, H, W) of the present branches."""
        return ensembled(logits, self.alpha, here)


class Ensembled(Scheduled):
    """The summed losses of all branches and of their ensemble; AdamW, a warm-up and a cosine.

    The ensemble's loss moves only its weights α. Every branch takes its modality as present: batch
    norms would learn stand-ins.
    """

    heeds_present = False

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage over all parameters.

        Raises:
            BadInput: the model has no branches.
        """
        if not isinstance(model, Fused) or not isinstance(model.fusion, Branches):
            raise BadInput(
                "recipes 'cen' and 'asymfusion' train a branch for each modality, which this model lacks: train model"
                " 'cen' or 'asymfusion'"
            )
        self.branched, self.fusion = model, model.fusion
        return super().setup(model, task, epochs)

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The summed mean losses of the branches and of the ensemble of the detached branches."""
        features, here = self.branched.ordered(
            {name: self.branched.encode(name, batch.inputs[name]) for name in self.branched.encoded}, None
        )
        logits = self.fusion.branches(features, here)
        answers = [*logits, self.fusion.ensemble([x.detach() for x in logits], here)]
        return torch.stack([self.loss(each, batch.targets) for each in answers]).sum()


def branched(
    task: Task, block: Callable[[Place], Bottleneck], size: SizeName, decoder: DecoderName, read: str
) -> Fused:
    """A branch for each modality of the task, which meet in bottlenecks.

    Raises:
        BadInput: the task asks for no map, a modality is no image of its size or has other
            channels, or the task lacks the one to read.
    """
    answer = map_of(task, task.names)
    encoders, channels = tiled(task)
    network = Network(Plan(channels, answer, SIZES[size], decoder), len(encoders), block)
    place = None if read == ENSEMBLE else task.names.index(task.modality(read).name)
    return Fused(task, encoders, Branches(network, len(encoders), place))
