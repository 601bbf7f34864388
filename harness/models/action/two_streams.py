"""Training of streams that each answer: the sum of their losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.fused import Fused
from harness.models.recipe import Stage
from harness.models.scheduled import Scheduled
from harness.tasks import Batch, Task


@runtime_checkable
class Answering(Protocol):
    """A fusion whose streams each have logits."""

    def logits(self, features: list[Tensor], here: Tensor) -> list[Tensor]: ...


class TwoStreams(Scheduled):
    """The sum of the losses of every stream's own answer, all modalities present; AdamW, a warm-up
    and a cosine.

    The reference code of MMTM for actions takes a step on one stream's loss and, after a second
    forward pass, one on the other's, with streams that were trained alone before; here one step on
    the sum trains both from the start. CentralNet's loss is the same sum.
    """

    heeds_present = False

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage over all parameters.

        Raises:
            BadInput: the model's streams do not answer on their own.
        """
        if not isinstance(model, Fused) or not isinstance(model.fusion, Answering):
            raise BadInput(
                "recipe 'two-streams' trains models whose streams answer, such as action-mmtm, action-late and"
                " central-net: train this one by 'scheduled'"
            )
        self.streams, self.answering = model, model.fusion
        return super().setup(model, task, epochs)

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The summed mean losses."""
        encoded = {name: self.streams.encode(name, batch.inputs[name]) for name in self.streams.encoded}
        logits = self.answering.logits(*self.streams.ordered(encoded, None))
        return torch.stack([self.task.problem.loss(each, batch.targets).mean() for each in logits]).sum()
