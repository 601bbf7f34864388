"""Modality-dropout training (Neverova et al., ModDrop, TPAMI 2016): modalities go missing while a
model learns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from defenses.protocols import penalty
from harness.models.option_types import NotNegative, Positive, Share
from harness.models.recipe import Stage, Supervised
from harness.tasks import Batch, Task


class ModalityDropout:
    """Supervised training in which each modality of each sample is missing at random; AdamW.

    Args:
        rate: how likely a modality is missing; where all would be, one of them, uniformly drawn, is
            kept. A sample that lacks modalities anyway keeps all it has where nothing else would be
            left.
    """

    heeds_present = True

    def __init__(self, rate: Share = 0.3, learning_rate: Positive = 2e-3, weight_decay: NotNegative = 1e-2) -> None:
        self.rate = rate
        self.supervised = Supervised(learning_rate, weight_decay)

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """The one stage of `Supervised`."""
        self.model, self.task = model, task
        return self.supervised.setup(model, task, epochs)

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss of the batch, with some modalities missing, plus the penalties of the
        model.
        """
        drawn = self.task.kept(some_present(len(batch), len(self.task.names), self.rate).to(batch.targets.device))
        present = of_its_own(drawn, batch)
        outputs = self.model(self.task.with_stand_ins(batch.inputs, present), present)
        loss = self.task.problem.loss(outputs, batch.targets).mean()
        return loss + penalty(self.model, loss)

    def after_step(self, stage: Stage) -> None:
        """Nothing to do."""

    def validate(self, batch: Batch) -> Tensor:
        """The task's score, averaged over complete inputs and, of several modalities, each of them
        missing.
        """
        names, optional = self.task.names, self.task.optional if len(self.task.names) > 1 else ()
        patterns = [
            torch.tensor([name != missing for name in names], device=batch.targets.device)
            for missing in ("", *optional)
        ]
        return torch.stack([self._score(batch, pattern.expand(len(batch), -1)) for pattern in patterns]).mean(0)

    def _score(self, batch: Batch, pattern: Tensor) -> Tensor:
        present = of_its_own(pattern, batch)
        outputs = self.model(self.task.with_stand_ins(batch.inputs, present), present.clone())
        return self.task.problem.score(outputs, batch.targets)


def some_present(samples: int, modalities: int, rate: float) -> Tensor:
    """Which modalities are present, bool (samples, modalities); at least one modality in each
    row.
    """
    present = torch.rand(samples, modalities) >= rate
    kept = torch.nn.functional.one_hot(torch.randint(modalities, (samples,)), modalities).bool()
    return torch.where(present.any(1, keepdim=True), present, kept)


def of_its_own(present: Tensor, batch: Batch) -> Tensor:
    """The present modalities that are kept, bool (B, M), in samples that lack modalities. A sample
    keeps all of them where none would be left.
    """
    if batch.present is None:
        return present
    left = present & batch.present
    return torch.where(left.any(1, keepdim=True), left, batch.present)
