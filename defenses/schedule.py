"""AdamW whose learning rate falls to zero by a cosine, as short adversarial training wants it."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from harness.models.recipe import Stage
from harness.tasks import Task


class Annealed:
    """The stages of a recipe over all of a model's parameters, each with an optimiser of its own."""

    def __init__(self, model: nn.Module, task: Task, learning_rate: float, weight_decay: float) -> None:
        self.model, self.samples = model, len(task.splits["train"])
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.schedules: dict[str, CosineAnnealingLR] = {}

    def stage(self, name: str, epochs: int) -> Stage:
        """A stage that is run to its end: an annealed one is best there."""
        optimizer = torch.optim.AdamW(self.model.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        stage = Stage(name, epochs, optimizer, patience=epochs)
        self.schedules[name] = CosineAnnealingLR(optimizer, max(1, epochs * -(-self.samples // stage.batch_size)))
        return stage

    def advance(self, stage: Stage) -> None:
        """After an optimiser step."""
        self.schedules[stage.name].step()
