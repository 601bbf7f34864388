"""Supervised training whose learning rate rises and falls."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from harness.models.option_types import NotNegative, OneOrMore, Positive
from harness.models.recipe import Stage
from harness.tasks import Batch, Task

WARM_UP = 0.1  # of the steps, in which the learning rate rises


class Scheduled:
    """The task's loss on clean inputs, each sample with its present modalities; AdamW, a warm-up
    and a cosine.

    Args:
        learning_rate: the highest one.
        epochs: the number of passes; `--epochs` overrides it.
        last: whether the last epoch is kept, at which the rate is lowest, and not the one with the
            best validation score: where validation samples are few, an earlier one may be best by
            chance.
    """

    heeds_present = True

    def __init__(
        self,
        learning_rate: Positive = 3e-3,
        weight_decay: NotNegative = 1e-2,
        epochs: OneOrMore = 20,
        batch_size: OneOrMore = 64,
        last: bool = False,
    ) -> None:
        self.learning_rate, self.weight_decay, self.epochs, self.batch_size = (
            learning_rate,
            weight_decay,
            epochs,
            batch_size,
        )
        self.last = last

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage over all parameters; no epoch ends it early, as the rate is lowest at the
        end.
        """
        self.model, self.task = model, task
        length = self.epochs if epochs is None else epochs
        total = max(1, length * math.ceil(len(task.splits["train"]) / self.batch_size))
        optimizer = torch.optim.AdamW(self.learning(), self.learning_rate, weight_decay=self.weight_decay)
        self.schedule = LambdaLR(optimizer, lambda step: warmed(step / total))
        return [
            Stage("scheduled", length, optimizer, patience=length, batch_size=self.batch_size, judged=not self.last)
        ]

    def learning(self) -> list[nn.Parameter]:
        """All that the stage moves."""
        return list(self.model.parameters())

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss of the batch."""
        return self.loss(self.model(batch.inputs, batch.present), batch.targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss, a scalar, of outputs (B, width)."""
        return self.task.problem.loss(outputs, targets).mean()

    def after_step(self, stage: Stage) -> None:
        """The learning rate moves."""
        self.schedule.step()

    def validate(self, batch: Batch) -> Tensor:
        """The task's score on clean inputs, with the modalities they have."""
        return self.task.problem.score(self.model(batch.inputs, batch.present), batch.targets)


def warmed(progress: float) -> float:
    """The factor of the learning rate: linear in the warm-up, then half a cosine."""
    if progress < WARM_UP:
        return max(progress, 1e-3) / WARM_UP
    return (1 + math.cos(math.pi * min(1.0, (progress - WARM_UP) / (1 - WARM_UP)))) / 2
