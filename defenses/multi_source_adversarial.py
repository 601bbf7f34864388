"""Adversarial training against adversaries of several modalities at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from defenses.adversary import Adversary, joined, read, repeated, robust_scores
from defenses.protocols import penalty
from defenses.schedule import WARM_UP, Annealed
from harness.models.option_types import NotNegative, OneOrMore, Positive, ZeroOrMore
from harness.models.recipe import Stage
from harness.tasks import Batch, Task


class MultiSourceAdversarial:
    """Adversarial training, a random non-empty set of modalities attacked together per batch;
    selected by robust score.

    A first stage without attacks, then per batch the task's loss on clean inputs and on attacked
    ones.

    Args:
        warm_up, epochs: at most so many without and with attacks.
        steps: gradient evaluations of one attack in training; validation takes twice as many.
    """

    def __init__(
        self,
        learning_rate: Positive = 2e-3,
        weight_decay: NotNegative = 1e-2,
        warm_up: ZeroOrMore = 4,
        epochs: OneOrMore = 12,
        steps: OneOrMore = 5,
    ) -> None:
        self.schedule = Annealed(learning_rate, weight_decay, warm_up, epochs)
        self.attack, self.examination = Adversary(steps), Adversary(2 * steps)

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """Two stages over all parameters; `epochs` bounds both."""
        self.model, self.task = model, task
        return self.schedule.stages(model, task, epochs)

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The summed mean losses of the clean batch and, after the warm-up, of the attacked one,
        plus the penalties of the model.
        """
        variants = [batch.inputs]
        if stage.name != WARM_UP:
            variants.append({**batch.inputs, **self.attack(self.model, self.task, batch, self._drawn())})
        outputs = self.model(joined(variants), None)
        loss = self.task.problem.loss(outputs, repeated(batch.targets, len(variants))).mean() * len(variants)
        return loss + penalty(self.model, loss)

    def _drawn(self) -> list[str]:
        """Any non-empty set of modalities, all equally likely."""
        names = read(self.model, self.task)
        number = int(torch.randint(1, 2 ** len(names), ()))
        return [name for place, name in enumerate(names) if number >> place & 1]

    def after_step(self, stage: Stage) -> None:
        """The learning rate falls."""
        self.schedule.advance(stage)

    def validate(self, batch: Batch) -> Tensor:
        """The task's score, averaged over the attacks on every modality alone and on all
        together.
        """
        names = list(read(self.model, self.task))
        attacks = [[name] for name in names] + ([names] if len(names) > 1 else [])
        return robust_scores(self.model, self.task, batch, self.examination, attacks)
