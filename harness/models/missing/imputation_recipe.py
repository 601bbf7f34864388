"""The training of SMIL's baselines: its networks, its first stage, then all samples with their
present modalities.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from harness.models.fused import Fused
from harness.models.missing.complete_stage import BATCH, COMPLETE, CompleteStage, adam, epochs_of
from harness.models.missing.completed import Completed
from harness.models.option_types import OneOrMore
from harness.models.recipe import Stage
from harness.tasks import Batch, Task


class Imputation:
    """Complete samples first, where a model imputes a modality; then the task's loss on all samples
    with their present modalities; Adam.

    Args:
        complete_iterations, iterations: of the two stages; as many as SMIL's.
    """

    heeds_present = True

    def __init__(self, complete_iterations: OneOrMore = 340, iterations: OneOrMore = 2_000) -> None:
        self.complete_iterations, self.iterations = complete_iterations, iterations

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """The first stage, of a model that makes up a modality, and the second.

        Raises:
            BadInput: no training sample has the modality to be made up.
        """
        self.model, self.task = model, task
        length = epochs_of(self.iterations, task, BATCH) if epochs is None else epochs
        self.first, self.frozen = None, False
        if isinstance(model, Fused) and isinstance(model.fusion, Completed):
            before = epochs_of(self.complete_iterations, task, BATCH)
            self.first = CompleteStage(model, model.fusion, task, before if epochs is None else min(before, epochs))
        moved = list(model.parameters()) if self.first is None else self.first.others()
        second = Stage("all", length, adam(moved), patience=length, batch_size=BATCH)
        return [second] if self.first is None else [self.first.stage, second]

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss, plus the imputer's loss."""
        self.stage = stage
        if self.first is None:
            return self.task.problem.loss(self.model(batch.inputs, batch.present), batch.targets).mean()
        if stage.name == COMPLETE:
            return self.first.step()
        if not self.frozen:
            self.first.freeze()
            self.frozen = True
        return self._step(self.first, batch)

    def _step(self, first: CompleteStage, batch: Batch) -> Tensor:
        first.net.eval()
        model, fusion = first.model, first.fusion
        features = first.features(batch)
        loss = self.task.problem.loss(model.fuse(features, batch.present), batch.targets).mean()
        has = first.has(batch)
        if not bool(has.any()):
            return loss
        observed = fusion.observed(*model.ordered(features, batch.present))
        cost: Tensor = fusion.imputer.cost(observed[has], features[first.name][has])  # type: ignore[operator]
        return loss + cost

    def after_step(self, stage: Stage) -> None:
        """Nothing to do."""

    def validate(self, batch: Batch) -> Tensor:
        """The score by the modality alone in the first stage; then the task's, each sample with its
        present modalities.
        """
        if self.first is None:
            return self.task.problem.score(self.model(batch.inputs, batch.present), batch.targets)
        return self.first.validate(batch) if self.stage.name == COMPLETE else self.first.score(batch)
