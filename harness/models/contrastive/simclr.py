"""SimCLR (Chen et al., A simple framework for contrastive learning of visual representations, ICML
2020).
"""

from __future__ import annotations

from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.contrastive.augmentations import augmentation
from harness.models.contrastive.losses import nt_xent
from harness.models.contrastive.pretraining import Pretraining
from harness.models.contrastive.probed import SIMCLR_OUT, probe_of, probed, projector
from harness.models.fused import Fused
from harness.models.option_types import OneOrMore, Positive, TwoOrMore
from harness.tasks import Batch, Task


def simclr(task: Task, modality: str) -> Fused:
    """SimCLR's encoder of one modality with its projector, under a linear probe (recipe simclr)."""
    return probed(task, [task.modality(modality).name], [projector(SIMCLR_OUT, last_norm=True)])


class SimCLR(Pretraining):
    """SimCLR: two views of each sample find each other in the batch (NT-Xent); then a linear probe
    on the frozen encoder.

    Args:
        temperature: 0.1 for large batches, 0.2 to 0.5 for small ones.
        others: see `Pretraining`.
    """

    def __init__(
        self, temperature: Positive = 0.5, batch_size: TwoOrMore = 256, epochs: OneOrMore = 40, tuned: bool = False
    ) -> None:
        super().__init__(batch_size, epochs, tuned)
        self.temperature = temperature

    def prepare(self, model: Fused, task: Task) -> list[nn.Parameter]:
        """Everything but the probe learns.

        Raises:
            BadInput: the model is not SimCLR's.
        """
        probe = probe_of(model)
        if len(model.encoded) > 1 or probe.predictor is not None:
            raise BadInput(
                "recipe 'simclr' trains one encoder and its projector, which this model is not: train simclr-image, say"
            )
        self.projector = probe.projectors[0]
        self.view = augmentation(task.modality(model.encoded[0]))
        return [*model.encoders.parameters(), *self.projector.parameters()]

    def loss(self, batch: Batch) -> Tensor:
        """NT-Xent of two views of the batch, both in one pass, or batch norm would see them
        apart.
        """
        one, other = self.projector(self.model.encode(self.model.encoded[0], self.views(batch, self.view))).chunk(2)
        return nt_xent(one, other, self.temperature)
