"""A linear probe, and pretraining without labels before it: the frame of all recipes here."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import permutations
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from attacks.region import Inputs
from harness.models.contrastive.augmentations import Augmentation
from harness.models.contrastive.neighbours import AT_ONCE, agreed, recall, spread, voted
from harness.models.contrastive.probed import probe_of
from harness.models.fused import Fused
from harness.models.recipe import Stage
from harness.models.scheduled import warmed
from harness.tasks import Batch, Classification, Counting, Task

PROBE, TUNE = "probe", "fine-tune"
PROBED_EPOCHS = 30
LEARNING_RATE, PROBE_RATE, WEIGHT_DECAY = 2e-3, 1e-2, 1e-4


class Probing:
    """A linear probe on encoders as they are, which stay frozen: drawn at random, the least an
    encoder is worth; AdamW.

    Args:
        tuned: whether the encoders learn too.
    """

    def __init__(self, tuned: bool = False) -> None:
        self.tuned = tuned

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage.

        Raises:
            BadInput: the model has no probe.
        """
        probe = probe_of(model)
        assert isinstance(model, Fused)
        self.model, self.task = model, task
        moved = (
            [*model.encoders.parameters(), *probe.linear.parameters()]
            if self.tuned
            else list(probe.linear.parameters())
        )
        optimizer = torch.optim.AdamW(moved, LEARNING_RATE if self.tuned else PROBE_RATE, weight_decay=WEIGHT_DECAY)
        return [Stage(TUNE if self.tuned else PROBE, PROBED_EPOCHS if epochs is None else epochs, optimizer)]

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss of the batch."""
        if not self.tuned:
            self.model.encoders.eval()
        with torch.set_grad_enabled(self.tuned):
            features = {name: self.model.encode(name, batch.inputs[name]) for name in self.model.encoded}
        return self.task.problem.loss(self.model.fuse(features), batch.targets).mean()

    def measured(self, test: Batch) -> dict[str, float]:
        """Measures of the embedding on a split, beside the probe's answers. Without classes, only
        its spread, and partners.

        The spread of the embedding, and of the projections that the loss sees. The vote of the 20
        nearest training samples (`knn`). With several modalities, how often the nearest sample of
        another modality, by the projections, is the partner, how often the partner is among the
        nearest five, and how often the nearest has its class: the mean over all ordered pairs.
        """
        train = self.task.splits["train"]
        device = next(self.model.parameters()).device
        known, seen = self._encoded(train, device), self._encoded(test, device)
        joint = torch.cat(list(seen.values()), 1)
        projected = [project(z) for project, z in zip(probe_of(self.model).projectors, seen.values(), strict=True)]
        said = {"spread": spread(joint), "projected_spread": fmean(map(spread, projected))}
        labels = isinstance(self.task.problem, Classification | Counting)
        if labels:
            votes = voted(torch.cat(list(known.values()), 1), train.targets.to(device), joint)
            said["knn"] = (votes == test.targets.to(device)).double().mean().item()
        if pairs := list(permutations(projected, 2)):
            said |= {f"recall_at_{n}": fmean(recall(one, other, n) for one, other in pairs) for n in (1, 5)}
        if pairs and labels:
            said["same_class_at_1"] = fmean(agreed(one, other, test.targets.to(device)) for one, other in pairs)
        return said

    def _encoded(self, split: Batch, device: torch.device) -> Inputs:
        parts = [split.take(rows).to(device).inputs for rows in torch.arange(len(split)).split(AT_ONCE)]
        return {name: torch.cat([self.model.encode(name, part[name]) for part in parts]) for name in self.model.encoded}

    def after_step(self, stage: Stage) -> None:
        """Nothing to do."""

    def validate(self, batch: Batch) -> Tensor:
        """The task's score."""
        return self.task.problem.score(self.model(batch.inputs, None), batch.targets)


class Pretraining(Probing, ABC):
    """A stage without labels, then a stage with labels; AdamW, a warm-up and a cosine, no weight
    decay of norms and biases.

    The second stage starts from the last epoch of the first, because choosing another would need
    labels.

    Args:
        batch_size, epochs: of the first stage.
        tuned: whether the second stage moves the encoders too, or the probe only.
    """

    def __init__(self, batch_size: int, epochs: int, tuned: bool) -> None:
        super().__init__(tuned)
        self.batch_size, self.epochs = batch_size, epochs

    @abstractmethod
    def prepare(self, model: Fused, task: Task) -> list[nn.Parameter]:
        """Keep the parts that the first stage needs; return the parameters that it moves."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """The loss of the first stage, a scalar, of two samples or more. It may not use the
        targets.
        """

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """The two stages; `epochs` bounds both.

        Raises:
            BadInput: the model has no probe, or does not fit the first stage.
        """
        labelled = super().setup(model, task, epochs)
        length = self.epochs if epochs is None else epochs
        self.total, self.steps = length * math.ceil(len(task.splits["train"]) / self.batch_size), 0
        self.learning = self.prepare(self.model, task)
        optimizer = _adamw(self.learning)
        self.schedule = LambdaLR(optimizer, lambda step: warmed(step / self.total))
        self.first = Stage("pretraining", length, optimizer, batch_size=self.batch_size, judged=False)
        return [self.first, *labelled]

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The loss of the stage. A single sample that is left at the end of an epoch gives no
        loss.
        """
        if stage is not self.first:
            return super().step(batch, stage)
        return (
            self.loss(batch)
            if len(batch) > 1
            else torch.stack([parameter.sum() for parameter in self.learning]).sum() * 0
        )

    def after_step(self, stage: Stage) -> None:
        """The learning rate of the first stage rises and falls."""
        if stage is self.first:
            self.schedule.step()
            self.steps += 1

    def views(self, batch: Batch, view: Augmentation) -> Tensor:
        """Two views (2B, ...) of the one modality, the first of all samples, then the second."""
        x = batch.inputs[self.model.encoded[0]]
        return torch.cat([view(x), view(x)])


def _adamw(parameters: Sequence[nn.Parameter]) -> torch.optim.AdamW:
    """Weights decay, biases and the scales of norms do not."""
    flat = [parameter for parameter in parameters if parameter.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2]},
        {"params": flat, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
