"""The two stages of adversarial training: a warm-up, then attacks; the learning rate of each falls to zero by a cosine."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from harness.models.recipe import Stage
from harness.tasks import Task

WARM_UP, ADVERSARIAL = "warm-up", "adversarial"


class Annealed:
    """AdamW over all of a model's parameters, annealed stage by stage."""

    def __init__(self, model: nn.Module, task: Task, learning_rate: float, weight_decay: float) -> None:
        self.model, self.samples = model, len(task.splits["train"])
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.schedules: dict[str, CosineAnnealingLR] = {}

    def stages(self, warm_up: int, adversarial: int, epochs: int | None) -> list[Stage]:
        """The stages with their epochs, which `epochs` overrules: so many with attacks, at most so many without."""
        lengths = (warm_up, adversarial) if epochs is None else (min(warm_up, epochs), epochs)
        return [self._stage(name, length) for name, length in zip((WARM_UP, ADVERSARIAL), lengths, strict=True)]

    def _stage(self, name: str, epochs: int) -> Stage:
        """Run to its end, where an annealed stage is best."""
        optimizer = torch.optim.AdamW(self.model.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        stage = Stage(name, epochs, optimizer, patience=epochs)
        self.schedules[name] = CosineAnnealingLR(optimizer, max(1, epochs * -(-self.samples // stage.batch_size)))
        return stage

    def advance(self, stage: Stage) -> None:
        """After an optimiser step."""
        self.schedules[stage.name].step()
