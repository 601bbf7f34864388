"""The training of pix2pix (Isola et al., CVPR 2017): an image is to be right, by its L1 distance,
and to look real to a discriminator that sees it beside the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.models.dense.pix2pix import SLOPE, Lesson, Translator, normed, started
from harness.models.option_types import NotNegative, OneOrMore, Positive
from harness.models.recipe import Stage
from harness.tasks import Batch, Images, Task

STRIDES = (2, 2, 2, 1, 1)
SMALLEST = 24  # pixels each way, of which the strides leave one
BETAS = (0.5, 0.999)


class Discriminator(nn.Module):
    """Logits (B, 1, h, w), above 0 where a patch of an image beside its input looks real."""

    def __init__(self, seen: int, width: int) -> None:
        super().__init__()
        wide = [seen, width, 2 * width, 4 * width, 8 * width, 1]
        layers: list[nn.Module] = []
        for level, (narrow, wider) in enumerate(pairwise(wide)):
            layers.append(nn.Conv2d(narrow, wider, 4, STRIDES[level], 1))
            layers += [normed(wider)] if 0 < level < len(STRIDES) - 1 else []
            layers += [nn.LeakyReLU(SLOPE)] if level < len(STRIDES) - 1 else []
        self.layers = nn.Sequential(*layers)
        started(self)

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(torch.cat([condition, image], 1))
        return logits


class Pix2Pix:
    """Right and real: 100 times the L1 distance in [-1, 1] plus the cross-entropy of a
    discriminator; Adam for both.

    As published: learning_rate=2e-4&batch_size=1&epochs=300&discriminator_width=64.

    Args:
        distance: the weight of the L1 distance.
        epochs: the number of passes; `--epochs` overrides it.
        discriminator_width: channels of its first convolution.
    """

    def __init__(
        self,
        learning_rate: Positive = 1e-3,
        distance: NotNegative = 100.0,
        epochs: OneOrMore = 20,
        batch_size: OneOrMore = 16,
        discriminator_width: OneOrMore = 16,
    ) -> None:
        self.learning_rate, self.distance = learning_rate, distance
        self.epochs, self.batch_size, self.width = epochs, batch_size, discriminator_width

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage over the model's parameters; the discriminator has an optimiser of its own.

        Raises:
            BadInput: the model does not translate images, or they are too small.
        """
        if not isinstance(model, Translator):
            raise BadInput(
                f"recipe 'pix2pix' trains models that translate images, not {type(model).__name__}: train it by"
                " 'supervised'"
            )
        self.model, self.task = model, task
        self.judge = self._judge(model, task)
        self.judging = torch.optim.Adam(self.judge.parameters(), self.learning_rate, BETAS)
        optimizer = torch.optim.Adam(model.parameters(), self.learning_rate, BETAS)
        length = self.epochs if epochs is None else epochs
        return [Stage("pix2pix", length, optimizer, patience=length, batch_size=self.batch_size)]

    def _judge(self, model: Translator, task: Task) -> Discriminator:
        """A discriminator for the images of a model, on its device."""
        assert isinstance(task.problem, Images)
        height, width = task.problem.size[1:]
        if min(height, width) < SMALLEST:
            raise BadInput(
                f"recipe 'pix2pix': images of {height}×{width} pixels are too small for its discriminator: train on"
                f" {SMALLEST}×{SMALLEST} or more, or by 'supervised'"
            )
        device = next(model.parameters()).device
        batch = task.splits["train"].take(range(2)).to(device)
        with torch.no_grad():
            seen = model.lesson(batch.inputs).conditions[0].shape[1] + task.problem.size[0]
        return Discriminator(seen, self.width).to(device)

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The discriminator's step, then the loss of the model on the batch."""
        lesson, target = self.model.lesson(batch.inputs), self.model.unscaled(batch.targets)
        self._learn_to_judge(lesson, target)
        right = [*lesson.branches, *([] if lesson.ensemble is None else [lesson.ensemble])]
        distance = sum(((image - target).abs().mean() for image in right), torch.zeros((), device=target.device))
        return self.distance * distance + self._unreal(lesson) + lesson.penalty

    def _learn_to_judge(self, lesson: Lesson, target: Tensor) -> None:
        loss = torch.zeros((), device=target.device)
        for condition, image in zip(lesson.conditions, lesson.branches, strict=True):
            real, drawn = self.judge(condition, target), self.judge(condition, image.detach())
            loss = loss + (_entropy(real, 1.0) + _entropy(drawn, 0.0)) / 2
        self.judging.zero_grad(set_to_none=True)
        loss.backward()
        self.judging.step()

    def _unreal(self, lesson: Lesson) -> Tensor:
        """The cross-entropy of images that are to look real, which moves the model only."""
        self.judge.requires_grad_(False)
        logits = [self.judge(*each) for each in zip(lesson.conditions, lesson.branches, strict=True)]
        self.judge.requires_grad_(True)
        return torch.stack([_entropy(each, 1.0) for each in logits]).sum()

    def after_step(self, stage: Stage) -> None:
        """Nothing to do."""

    def validate(self, batch: Batch) -> Tensor:
        """The task's score on clean inputs."""
        return self.task.problem.score(self.model(batch.inputs, None), batch.targets)

    def measured(self, test: Batch) -> dict[str, float]:
        """What the model reports of itself, such as the share of channels that it exchanges."""
        return self.model.measured()


def _entropy(logits: Tensor, real: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))
