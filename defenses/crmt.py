"""CRMT (Yang et al., Quantifying and enhancing multi-modal robustness with modality preference,
ICLR 2024).

Each modality has a classifier with orthogonal weights, so that its margin is a distance among its
features; their logits are summed with learnable weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from attacks.errors import BadInput
from harness.models.encoders import encoder
from harness.models.fused import Fused, without_missing
from harness.models.option_types import NotNegative, OneOrMore, Positive
from harness.models.recipe import Stage
from harness.tasks import Batch, Problem, Task

WIDTH = 64
WEIGHTS = "weights"
CAYLEY = "cayley"  # torch's default keeps signs among the parameters, which weight decay makes zero


class OrthogonalSum(nn.Module):
    """Σ_m a_m ⊙ o_m + b with o_m = W_m z_m, the rows of W_m orthonormal (its columns, where there
    are more outputs than features).
    """

    def __init__(self, size: int, modalities: int, outputs: int) -> None:
        super().__init__()
        maps = (nn.Linear(size, outputs, bias=False) for _ in range(modalities))
        self.classifiers = nn.ModuleList(orthogonal(each, orthogonal_map=CAYLEY) for each in maps)
        self.weights = nn.Parameter(torch.ones(modalities, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        return self.summed(self.alone(features, here))

    def alone(self, features: list[Tensor], here: Tensor) -> list[Tensor]:
        """o_m, (B, width) per modality, before they are weighted; zeros where it is missing."""
        return [classifier(z) for classifier, z in zip(self.classifiers, without_missing(features, here), strict=True)]

    def summed(self, logits: list[Tensor]) -> Tensor:
        """Outputs (B, width) of each modality alone."""
        return (torch.stack(logits, dim=1) * self.weights).sum(1) + self.bias


def crmt(task: Task) -> Fused:
    """CRMT: orthogonal classifiers of each modality, their logits summed with learnable weights
    (ICLR 2024).
    """
    encoders = {modality.name: encoder(modality, WIDTH) for modality in task.modalities}
    return Fused(task, encoders, OrthogonalSum(WIDTH, len(encoders), task.width))


class Crmt:
    """CRMT's training: the task's loss and a bound on the margins each modality lacks; then only
    the weights of the sum move.

    Args:
        regulation: ρ, the weight of the bound.
        epochs, weight_epochs: at most so many of the first and of the second stage.
        weight_learning_rate: of the second stage.
    """

    def __init__(
        self,
        regulation: NotNegative = 2.0,
        learning_rate: Positive = 2e-3,
        weight_decay: NotNegative = 1e-2,
        epochs: OneOrMore = 30,
        weight_epochs: OneOrMore = 5,
        weight_learning_rate: Positive = 1e-2,
    ) -> None:
        self.regulation = regulation
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.epochs, self.weight_epochs, self.weight_learning_rate = epochs, weight_epochs, weight_learning_rate

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """A stage over all parameters, and one over the weights of the sum.

        Raises:
            BadInput: the model has no such classifiers, or the task no classes.
        """
        if not isinstance(model, Fused) or not isinstance(model.fusion, OrthogonalSum):
            raise BadInput(
                "recipe 'crmt' trains the orthogonal classifiers of model 'crmt', which this model lacks: train"
                " model 'crmt'"
            )
        self.model, self.fusion, self.task = model, model.fusion, task
        first, second = (
            (self.epochs, self.weight_epochs) if epochs is None else (epochs, min(self.weight_epochs, epochs))
        )
        everything = torch.optim.AdamW(model.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        weights = torch.optim.AdamW([model.fusion.weights], self.weight_learning_rate, weight_decay=0.0)
        return [Stage("classifiers", first, everything), Stage(WEIGHTS, second, weights)]

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss and, in the first stage, ρ times the mean bound."""
        features = {name: self.model.encode(name, batch.inputs[name]) for name in self.model.encoded}
        alone = self.fusion.alone(*self.model.ordered(features, None))
        loss = self.task.problem.loss(self.fusion.summed(alone), batch.targets).mean()
        if stage.name == WEIGHTS:
            return loss
        return loss + self.regulation * lacking(self.task.problem, alone, batch.targets).mean()

    def after_step(self, stage: Stage) -> None:
        """Nothing to do."""

    def validate(self, batch: Batch) -> Tensor:
        """The task's score on clean inputs."""
        return self.task.problem.score(self.model(batch.inputs, None), batch.targets)


def lacking(problem: Problem, logits: list[Tensor], targets: Tensor) -> Tensor:
    """log Σ_m (Σ_k exp(o_mk) / exp(o_my) - 1) of each sample (B,), o_m logits (B, K): how far any
    class of any modality is ahead.

    Raises:
        BadInput: the task is not a classification.
    """
    margins = [problem.verdict(each, targets).margins for each in logits]
    known = [margin for margin in margins if margin is not None]  # -inf at the right class, whose term is the 1
    if not known:
        raise BadInput("recipe 'crmt' needs classes, and this task is a regression: train by another recipe")
    return torch.cat(known, dim=1).logsumexp(1)
