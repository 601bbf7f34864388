"""Robust training against single-source adversaries (Yang et al., CVPR 2021), of any model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.region import Inputs
from defenses.adversary import Adversary, encoded, joined, read, repeated, robust_scores
from defenses.protocols import Experts, OddOneOut, penalty
from defenses.schedule import WARM_UP, Annealed
from harness.models.option_types import NotNegative, OneOrMore, Positive, ZeroOrMore
from harness.models.protocols import Factored
from harness.models.recipe import Stage
from harness.tasks import Batch, Task


class SingleSourceAdversarial:
    """Adversarial training, one modality attacked at a time (Yang et al., CVPR 2021); selected by
    robust score.

    A first stage without attacks, then per batch the task's loss on clean inputs and, for every
    modality alone, on inputs where PGD against the whole model has moved it. A model with an
    odd-one-out network also learns to name the attacked modality and, self-supervised, one whose
    features come from another sample, or none; each expert of a model also learns the task alone,
    on the same inputs. Otherwise it would learn only from the samples that are sent to it.

    Args:
        warm_up, epochs: the largest number of epochs without and with attacks.
        steps: gradient evaluations of one attack in training; validation takes twice as many.
        odd_weight: the weight of the odd-one-out terms, seven for three modalities. At 1 they
            outweigh the loss of the task.
        expert_weight: the weight of the losses of each expert alone.
    """

    def __init__(
        self,
        learning_rate: Positive = 2e-3,
        weight_decay: NotNegative = 1e-2,
        warm_up: ZeroOrMore = 4,
        epochs: OneOrMore = 12,
        steps: OneOrMore = 5,
        odd_weight: NotNegative = 0.05,
        expert_weight: NotNegative = 0.25,
    ) -> None:
        self.schedule = Annealed(learning_rate, weight_decay, warm_up, epochs)
        self.odd_weight, self.expert_weight = odd_weight, expert_weight
        self.attack, self.examination = Adversary(steps), Adversary(2 * steps)

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """Two stages over all parameters; `epochs` bounds both."""
        self.model, self.task = model, task
        return self.schedule.stages(model, task, epochs)

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The summed mean losses of the clean batch and, after the warm-up, of every attacked one,
        plus the penalties of the model.
        """
        names = [] if stage.name == WARM_UP else read(self.model, self.task)
        moved = {name: self.attack(self.model, self.task, batch, [name]) for name in names}
        variants = [batch.inputs, *({**batch.inputs, **x} for x in moved.values())]
        if isinstance(self.model, Factored):
            features = encoded(self.model, variants)
            outputs = self.model.fuse(joined(features), None)
            more = self.odd_weight * self._odd_loss(features, list(moved)) + self.expert_weight * self._expert_loss(
                features, batch
            )
        else:
            outputs = self.model(joined(variants), None)
            more = outputs.new_zeros(())
        loss = self.task.problem.loss(outputs, repeated(batch.targets, len(variants))).mean() * len(variants)
        return loss + more + penalty(self.model, more)

    def _expert_loss(self, features: list[Inputs], batch: Batch) -> Tensor:
        """The task's loss of each expert alone on every variant's features (B, ...): means over
        experts, summed.
        """
        if not isinstance(self.model, Experts):
            return torch.zeros_like(next(iter(features[0].values())).sum())
        alone = self.model.alone(joined(features))
        targets = repeated(batch.targets, len(features)).repeat_interleave(alone.shape[1], dim=0)
        return self.task.problem.loss(alone.flatten(0, 1), targets).mean() * len(features)

    def _odd_loss(self, features: list[Inputs], attacked: list[str]) -> Tensor:
        """-log o of the odd feature: none for clean features, the one from another sample, and the
        attacked one; summed means.
        """
        clean, count = features[0], len(next(iter(features[0].values())))
        if not isinstance(self.model, OddOneOut):
            return torch.zeros_like(next(iter(clean.values())).sum())
        names = self.model.encoded
        swapped = [{**clean, name: clean[name].roll(1, 0)} for name in names]  # a batch is in random order
        said = self.model.odd(joined([*features, *swapped]))
        truth = [len(names), *map(names.index, attacked), *range(len(names))]
        truths = torch.tensor(truth, device=said.device).repeat_interleave(count)
        return -said.gather(1, truths[:, None]).clamp_min(torch.finfo(said.dtype).tiny).log().mean() * len(truth)

    def after_step(self, stage: Stage) -> None:
        """The learning rate falls."""
        self.schedule.advance(stage)

    def validate(self, batch: Batch) -> Tensor:
        """The task's score, averaged over the attacks on every modality alone."""
        singles = [[name] for name in read(self.model, self.task)]
        return robust_scores(self.model, self.task, batch, self.examination, singles)
