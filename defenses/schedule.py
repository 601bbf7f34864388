"""The two stages of adversarial training: a warm-up, then attacks; the learning rate of each falls
to zero by a cosine.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from harness.models.recipe import Stage
from harness.tasks import Task

WARM_UP, ADVERSARIAL = "warm-up", "adversarial"


class Annealed:
    """AdamW over all of a model's parameters, annealed stage by stage.

    Args:
        warm_up, adversarial: at most so many epochs without attacks, and with them.
    """

    def __init__(self, learning_rate: float, weight_decay: float, warm_up: int, adversarial: int) -> None:
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.lengths = warm_up, adversarial
        self.schedules: dict[str, CosineAnnealingLR] = {}

    def stages(self, model: nn.Module, task: Task, epochs: int | None) -> list[Stage]:
        """The two stages; `epochs` overrules their lengths: so many with attacks, at most so many
        without.
        """
        warm_up, adversarial = self.lengths if epochs is None else (min(self.lengths[0], epochs), epochs)
        return [
            self._stage(model, task, name, length) for name, length in ((WARM_UP, warm_up), (ADVERSARIAL, adversarial))
        ]

    def _stage(self, model: nn.Module, task: Task, name: str, epochs: int) -> Stage:
        """Run to its end, where an annealed stage is best."""
        optimizer = torch.optim.AdamW(model.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        stage = Stage(name, epochs, optimizer, patience=epochs)
        self.schedules[name] = CosineAnnealingLR(
            optimizer, max(1, epochs * -(-len(task.splits["train"]) // stage.batch_size))
        )
        return stage

    def advance(self, stage: Stage) -> None:
        """After an optimiser step."""
        self.schedules[stage.name].step()
