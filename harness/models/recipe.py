"""How a model is trained. `train` knows recipes, not models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from harness.models.option_types import NotNegative, Positive
from harness.tasks import Batch, Task


@dataclass(frozen=True, eq=False)
class Stage:
    """A stretch of training with one optimiser.

    Attributes:
        name: shown in the progress bar.
        epochs: the largest number of passes over the training split.
        optimizer: over the parameters this stage moves.
        patience: epochs without a better validation score before the stage ends.
        judged: whether epochs are judged by their validation score and the best is kept. Otherwise,
            as in a stage without labels, the last epoch is kept.
    """

    name: str
    epochs: int
    optimizer: torch.optim.Optimizer
    patience: int = 8
    batch_size: int = 64
    judged: bool = True


@runtime_checkable
class Recipe(Protocol):
    """One way to train. A recipe keeps what it needs between calls on itself, and is used once.

    A recipe that uses `Batch.present`, in every step and in validation, has an attribute
    `heeds_present` that is True. Other recipes do not get incomplete data.
    """

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """Take hold of the model, on its device, and plan the stages; `epochs` overrules their
        length.
        """

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The loss, a scalar, that this stage's optimiser should lower on the batch."""

    def after_step(self, stage: Stage) -> None:
        """Whatever follows an optimiser step: momentum targets, clipped weights, schedules."""

    def validate(self, batch: Batch) -> Tensor:
        """A score per sample (B,), higher is better; the best epoch of a judged stage is selected
        by its mean.
        """


@runtime_checkable
class Measuring(Protocol):
    """A recipe with measures of its model beyond the task's metrics."""

    def measured(self, test: Batch) -> dict[str, float]:
        """Further numbers of a split for the card, by name; the model is in evaluation mode,
        without gradients.
        """


class Supervised:
    """The task's loss on clean inputs, each sample with the modalities it has; AdamW."""

    heeds_present = True

    def __init__(self, learning_rate: Positive = 2e-3, weight_decay: NotNegative = 1e-2) -> None:
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage over all parameters."""
        self.model, self.task = model, task
        optimizer = torch.optim.AdamW(model.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        return [Stage("supervised", 30 if epochs is None else epochs, optimizer)]

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss of the batch."""
        return self.task.problem.loss(self.model(batch.inputs, batch.present), batch.targets).mean()

    def after_step(self, stage: Stage) -> None:
        """Nothing to do."""

    def validate(self, batch: Batch) -> Tensor:
        """The task's score on clean inputs, with the modalities they have."""
        return self.task.problem.score(self.model(batch.inputs, batch.present), batch.targets)
