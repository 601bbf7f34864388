"""The first stage of all that is trained here: the complete samples teach the missing modality's
net, which then is frozen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.models.fused import Fused
from harness.models.missing.completed import Completed
from harness.models.recipe import Stage
from harness.tasks import Batch, Task

COMPLETE = "complete"
BATCH, COMPLETE_BATCH = 64, 32
AT_ONCE = 256  # sounds whose features are computed together


def adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
    """SMIL's optimiser."""
    return torch.optim.Adam(parameters, 1e-3, weight_decay=1e-4)


def epochs_of(iterations: int, task: Task, size: int) -> int:
    """How many passes over the training split, in batches of `size`, make at least so many
    batches.
    """
    return math.ceil(iterations / math.ceil(len(task.splits["train"]) / size))


def drawn(count: int, size: int) -> Tensor:
    """Rows of a pool of `count`, none twice unless the pool is too small."""
    return torch.randperm(count)[:size] if count >= size else torch.randint(count, (size,))


class CompleteStage:
    """Trains a `Completed` model on the training samples that have the severely missing modality.

    Both the fused outputs and those of a classifier on this modality alone (thrown away later) are
    to be right, lest its net be spared by an easier one.

    Attributes:
        complete, lacking: the training samples that have the modality, and those that lack it.

    Raises:
        BadInput: no training sample has the modality.
    """

    def __init__(self, model: Fused, fusion: Completed, task: Task, epochs: int) -> None:
        self.model, self.fusion, self.task = model, fusion, task
        self.name = model.encoded[fusion.position]
        self.column = model.columns[fusion.position]
        self.net = list(model.encoders.values())[fusion.position]
        device = next(model.parameters()).device
        train = task.splits["train"].to(device)
        has = self.has(train)
        if not bool(has.any()):
            raise BadInput(
                f"no training sample of task {task.name!r} has {self.name!r}, from which to learn its features: let"
                " fewer lack it"
            )
        self.complete, self.lacking = train.take(has.nonzero().flatten()), train.take((~has).nonzero().flatten())
        self.head = nn.Linear(fusion.size, task.width).to(device)
        optimizer = adam([*model.parameters(), *self.head.parameters()])
        self.stage = Stage(COMPLETE, epochs, optimizer, patience=epochs, batch_size=BATCH)

    def has(self, batch: Batch) -> Tensor:
        """Which samples (B,) have the modality."""
        if batch.present is None:
            return torch.ones(len(batch), dtype=torch.bool, device=batch.targets.device)
        return batch.present[:, self.column]

    def step(self) -> Tensor:
        """The loss on complete samples drawn anew: an epoch is as many batches as of all
        samples.
        """
        batch = self.complete.take(drawn(len(self.complete), COMPLETE_BATCH))
        features = {name: self.model.encode(name, batch.inputs[name]) for name in self.model.encoded}
        fused, alone = self.model.fuse(features, batch.present), self.head(features[self.name])
        return (self.task.problem.loss(fused, batch.targets) + self.task.problem.loss(alone, batch.targets)).mean()

    def validate(self, batch: Batch) -> Tensor:
        """The score (B,) by the modality alone; 0 for all samples that lack it, which so rank no
        epoch.
        """
        scores = self.task.problem.score(self.head(self.features(batch)[self.name]), batch.targets)
        return torch.where(self.has(batch), scores, torch.zeros_like(scores))

    def score(self, batch: Batch) -> Tensor:
        """The task's score (B,), each sample with what it has."""
        return self.task.problem.score(self.model.fuse(self.features(batch), batch.present), batch.targets)

    def freeze(self) -> Tensor:
        """Freeze the modality's net, and give the imputer the features (N, M) of the complete
        samples, which it returns.
        """
        self.net.eval().requires_grad_(False)
        with torch.no_grad():
            features = torch.cat([self.net(x) for x in self.complete.inputs[self.name].split(AT_ONCE)])
        self.fusion.imputer.fit(features)  # type: ignore[operator]
        return features

    def features(self, batch: Batch) -> Inputs:
        """The features of each modality; of the severely missing one, zeros for samples that lack
        it, which spares most of the work.
        """
        has = self.has(batch)
        features = {
            name: self.model.encode(name, batch.inputs[name]) for name in self.model.encoded if name != self.name
        }
        known = batch.inputs[self.name].new_zeros(len(batch), self.fusion.size)
        if bool(has.any()):
            known[has] = self.net(batch.inputs[self.name][has])
        return features | {self.name: known}

    def others(self) -> list[nn.Parameter]:
        """All parameters of the model but those of the modality's net."""
        frozen = set(self.net.parameters())
        return [parameter for parameter in self.model.parameters() if parameter not in frozen]
