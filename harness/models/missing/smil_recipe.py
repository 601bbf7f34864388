"""The training of SMIL (Ma et al., AAAI 2021, algorithm 1): complete samples first, then one
second-order step per iteration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from attacks.errors import BadInput
from harness.models.fused import Fused
from harness.models.missing.complete_stage import BATCH, COMPLETE, CompleteStage, adam, drawn, epochs_of
from harness.models.missing.completed import Completed, Hidden
from harness.models.option_types import NotNegative, OneOrMore, Positive
from harness.models.recipe import Stage
from harness.tasks import Batch, Problem, Task

DECAY_EVERY = 1_000  # iterations, after which the inner learning rate falls to a tenth
OUTER_DECAY_EVERY = 5_000  # the same of the outer one
COUNTED = 16  # the size of a batch of `train`, which counts an iteration: 1,050 samples are validated every 66 of them


class Objective(nn.Module):
    """The objective on samples without the severely missing modality, as one call that can be made
    with other parameters.
    """

    def __init__(self, model: Fused, problem: Problem, complete_weight: float) -> None:
        super().__init__()
        self.model, self.problem, self.complete_weight = model, problem, complete_weight

    @property
    def fusion(self) -> Completed:
        """The model's; were it held here as well, its parameters would have two names, of which one
        is restored wrongly.
        """
        fusion: Completed = self.model.fusion  # type: ignore[assignment]
        return fusion

    def forward(self, batch: Batch, missing: Tensor | None, noisy: bool) -> Tensor:
        """The mean loss of the batch and, given the hidden features `missing` (B, M), the term that
        draws the samples to their complete features.
        """
        observed = self._observed(batch)
        inferred = self.fusion.inferred(observed, noisy)
        loss = self._loss(inferred, batch) + inferred.cost
        if missing is None:
            return loss
        complete = self.fusion.complete(observed, missing)
        drawn_near: Tensor = self.fusion.inference.mismatch(inferred, complete)  # type: ignore[operator]
        imputed: Tensor = self.fusion.imputer.cost(observed, missing)  # type: ignore[operator]
        return loss + (drawn_near + imputed) + self.complete_weight * self._loss(complete, batch)

    def _observed(self, batch: Batch) -> Tensor:
        hidden = self.model.encoded[self.fusion.position]
        features = {name: self.model.encode(name, batch.inputs[name]) for name in self.model.encoded if name != hidden}
        features[hidden] = batch.targets.new_zeros(len(batch), 1, dtype=torch.float32)
        return self.fusion.observed(*self.model.ordered(features, batch.present))

    def _loss(self, hidden: Hidden, batch: Batch) -> Tensor:
        return self.problem.loss(self.fusion.classifier.outputs(hidden.v), batch.targets).mean()

    def adaptable(self) -> dict[str, nn.Parameter]:
        """The parameters of the inner step: the other modalities' nets and the classifier, by
        name.
        """
        moved = {id(p) for module in self._adapted() for p in module.parameters()}
        return {name: parameter for name, parameter in self.named_parameters() if id(parameter) in moved}

    def _adapted(self) -> list[nn.Module]:
        nets = list(self.model.encoders.values())
        return [*nets[: self.fusion.position], *nets[self.fusion.position + 1 :], self.fusion.classifier]


def adapted(parameters: Mapping[str, nn.Parameter], loss: Tensor, learning_rate: float) -> dict[str, Tensor]:
    """The parameters after one step of gradient descent, still a function of those before (so of
    second order).
    """
    gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    return {
        name: p - learning_rate * gradient for (name, p), gradient in zip(parameters.items(), gradients, strict=True)
    }


class Smil:
    """SMIL's meta-learning: complete samples first, then second-order steps on incomplete and
    complete ones; Adam.

    Each iteration draws a batch of samples that lack the modality (meta-training) and one of
    complete samples from which it is hidden (meta-validation). One step of gradient descent on the
    first moves the other modalities' nets and the classifier; all but the missing modality's net
    learns from the loss of both after that step.

    Args:
        complete_iterations, iterations: of the two stages. The reference takes 8,000 of the second.
        inner_learning_rate: the rate in the first 1,000 iterations, a tenth of it in the next
            1,000, and so on.
        validation_weight: the weight of the meta-validation samples' loss beside the others'. At 1,
            as in the paper, few complete samples count as much as all that lack the modality.
        complete_weight: the weight of the meta-validation samples' loss with the modality not
            hidden.
    """

    heeds_present = True

    def __init__(
        self,
        complete_iterations: OneOrMore = 340,
        iterations: OneOrMore = 2_000,
        inner_learning_rate: Positive = 1e-3,
        validation_weight: NotNegative = 1.0,
        complete_weight: NotNegative = 0.0,
    ) -> None:
        self.complete_iterations, self.iterations = complete_iterations, iterations
        self.inner_learning_rate = inner_learning_rate
        self.validation_weight, self.complete_weight = validation_weight, complete_weight

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """The complete samples' stage, and meta-learning.

        Raises:
            BadInput: the model imputes no modality, or all training samples have it, or no sample
                has it.
        """
        if not isinstance(model, Fused) or not isinstance(model.fusion, Completed):
            raise BadInput(
                "recipe 'smil' trains models that complete a missing modality, which this model does not do: train"
                " model"
                " 'smil'"
            )
        self.model, self.task, self.iteration = model, task, 0
        self.features: Tensor | None = None
        before, length = epochs_of(self.complete_iterations, task, BATCH), epochs_of(self.iterations, task, COUNTED)
        if epochs is not None:
            before, length = min(before, epochs), epochs
        self.first = CompleteStage(model, model.fusion, task, before)
        if not len(self.first.lacking):
            raise BadInput(
                f"no training sample of task {task.name!r} lacks {self.first.name!r}, so recipe 'smil' cannot learn to"
                f" complete it: give --train-missing {self.first.name}:0.9, or train by recipe 'imputation'"
            )
        self.objective = Objective(model, task.problem, self.complete_weight)
        optimizer = adam(self.first.others())
        self.schedule = torch.optim.lr_scheduler.StepLR(optimizer, OUTER_DECAY_EVERY)
        return [self.first.stage, Stage("meta", length, optimizer, patience=length, batch_size=COUNTED)]

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The loss of batches drawn here: the one given only counts the iterations."""
        self.stage = stage
        if stage.name == COMPLETE:
            return self.first.step()
        if self.features is None:
            self.features = self.first.freeze()
        self.first.net.eval()
        rows = drawn(len(self.first.complete), BATCH)
        lacking = self.first.lacking.take(drawn(len(self.first.lacking), BATCH))
        return self._step(lacking, self.first.complete.take(rows), self.features[rows])

    def _step(self, lacking: Batch, complete: Batch, missing: Tensor) -> Tensor:
        rate = self.inner_learning_rate * 0.1 ** (self.iteration // DECAY_EVERY)
        moved = adapted(self.objective.adaptable(), self.objective(lacking, None, True), rate)
        after: Tensor = functional_call(self.objective, moved, (lacking, None, True))
        validation: Tensor = functional_call(self.objective, moved, (complete, missing, False))
        return after + self.validation_weight * validation

    def after_step(self, stage: Stage) -> None:
        """Both learning rates fall."""
        if stage.name != COMPLETE:
            self.schedule.step()
            self.iteration += 1

    def validate(self, batch: Batch) -> Tensor:
        """The score by the modality alone in the first stage; then the task's, each sample with its
        present modalities.
        """
        return self.first.validate(batch) if self.stage.name == COMPLETE else self.first.score(batch)
