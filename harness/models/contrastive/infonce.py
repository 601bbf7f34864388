"""Cross-modal contrast (van den Oord et al., CPC, 2018; Radford et al., CLIP, ICML 2021) between
any two or more modalities.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.contrastive.augmentations import augmentation
from harness.models.contrastive.losses import info_nce
from harness.models.contrastive.pretraining import Pretraining
from harness.models.contrastive.probed import SIMCLR_OUT, probe_of, probed, projector
from harness.models.fused import Fused
from harness.models.option_types import OneOrMore, Positive, TwoOrMore
from harness.tasks import Batch, Task


def infonce(task: Task) -> Fused:
    """Encoders of all modalities that find each other's partner, under a linear probe (recipe
    infonce).

    Raises:
        BadInput: the task has one modality.
    """
    if len(task.names) == 1:
        raise BadInput(
            f"task {task.name!r} has only {task.names[0]!r}: contrast between modalities needs two, or train"
            f" simclr-{task.names[0]}"
        )
    return probed(task, task.names, [projector(SIMCLR_OUT) for _ in task.names])


class InfoNCE(Pretraining):
    """InfoNCE between all pairs of modalities: each sample's finds its partner in the batch; then a
    linear probe.

    Args:
        temperature: of the similarities.
        others: see `Pretraining`.
    """

    def __init__(
        self, temperature: Positive = 0.2, batch_size: TwoOrMore = 256, epochs: OneOrMore = 40, tuned: bool = False
    ) -> None:
        super().__init__(batch_size, epochs, tuned)
        self.temperature = temperature

    def prepare(self, model: Fused, task: Task) -> list[nn.Parameter]:
        """Everything but the probe learns.

        Raises:
            BadInput: the model reads one modality only.
        """
        self.probe = probe_of(model)
        if len(model.encoded) == 1:
            raise BadInput(
                f"recipe 'infonce' contrasts modalities, and this model reads {model.encoded[0]!r} only: train model"
                " 'infonce'"
            )
        self.views_of = {name: augmentation(task.modality(name)) for name in model.encoded}
        return [*model.encoders.parameters(), *self.probe.projectors.parameters()]

    def loss(self, batch: Batch) -> Tensor:
        """The mean over the pairs of modalities, one view of each."""
        projections = [
            project(self.model.encode(name, self.views_of[name](batch.inputs[name])))
            for name, project in zip(self.model.encoded, self.probe.projectors, strict=True)
        ]
        pairs = combinations(projections, 2)
        return torch.stack([info_nce(one, other, self.temperature) for one, other in pairs]).mean()
