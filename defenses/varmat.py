"""VARMAT (AAAI 2026): adversarial training that also limits the effect of each modality's features
on the loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from defenses.adversary import Adversary, read, robust_scores
from defenses.protocols import penalty
from defenses.schedule import WARM_UP, Annealed
from harness.models.option_types import NotNegative, OneOrMore, Positive, ZeroOrMore
from harness.models.protocols import Factored
from harness.models.recipe import Stage
from harness.tasks import Batch, Task

EXAMINED = 10  # steps of the attack that selects the epoch: one step can be learnt by heart


class Varmat:
    """One-step adversarial training of all modalities, and a penalty on the first-order
    vulnerability of each (AAAI 2026).

    Args:
        warm_up, epochs: at most so many without and with attacks.
        vulnerability: α, the weight of the mean over the batch of Σ_m ‖∇_{z_m} L‖₂.
    """

    def __init__(
        self,
        learning_rate: Positive = 2e-3,
        weight_decay: NotNegative = 1e-2,
        warm_up: ZeroOrMore = 4,
        epochs: OneOrMore = 12,
        vulnerability: NotNegative = 0.1,
    ) -> None:
        self.schedule = Annealed(learning_rate, weight_decay, warm_up, epochs)
        self.vulnerability = vulnerability
        self.attack, self.examination = Adversary(steps=1, random_start=True), Adversary(EXAMINED)
        self.draw = 0

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """Two stages over all parameters; `epochs` bounds both.

        Raises:
            BadInput: the model is not factored, and has no features of one modality.
        """
        if not isinstance(model, Factored):
            raise BadInput(
                "recipe 'varmat' needs a factored model: give the model methods encode and fuse, or train"
                " by multi-source-adversarial"
            )
        self.model: Factored = model
        self.module, self.task = model, task
        return self.schedule.stages(model, task, epochs)

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss on inputs where every modality was moved, and α times the vulnerability
        there; clean in the warm-up.
        """
        inputs = batch.inputs
        if stage.name != WARM_UP:
            self.draw += 1
            inputs = {**inputs, **self.attack(self.module, self.task, batch, read(self.module, self.task), self.draw)}
        features = {name: self.model.encode(name, inputs[name]) for name in self.model.encoded}
        losses = self.task.problem.loss(self.model.fuse(features, None), batch.targets)
        loss = losses.mean() + self.vulnerability * vulnerabilities(losses, list(features.values())).mean()
        return loss + penalty(self.module, loss)

    def after_step(self, stage: Stage) -> None:
        """The learning rate falls."""
        self.schedule.advance(stage)

    def validate(self, batch: Batch) -> Tensor:
        """The task's score under an attack on all modalities together."""
        return robust_scores(self.module, self.task, batch, self.examination, [read(self.module, self.task)])


def vulnerabilities(losses: Tensor, features: list[Tensor]) -> Tensor:
    """Σ_m ‖∇_{z_m} L‖₂ of each sample (B,), of losses (B,) and the features (B, ...) they came
    from; differentiable.
    """
    slopes = torch.autograd.grad(losses.sum(), features, create_graph=True)
    return torch.stack([slope.flatten(1).norm(dim=1) for slope in slopes]).sum(0)
