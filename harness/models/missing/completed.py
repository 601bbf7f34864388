"""The frame SMIL shares with what it is compared with: where one modality is missing, its features
are made up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.fused import Fused, without_missing
from harness.models.missing.networks import network
from harness.tasks import Task

HIDDEN = 64
SOUND = "audio"


@dataclass(frozen=True, eq=False)
class Hidden:
    """What samples become on the way to their outputs.

    Attributes:
        u: the features of all modalities, (B, D).
        v: the hidden layer above them, (B, 64).
        cost: what the inference of a missing modality adds to the loss, a scalar.
    """

    u: Tensor
    v: Tensor
    cost: Tensor


@runtime_checkable
class Imputer(Protocol):
    """Makes up the features of a missing modality. A module; all it learns or keeps is in its
    state.
    """

    def __call__(self, observed: Tensor) -> Tensor:
        """Features (B, M) of the missing modality from those (B, O) of all others."""

    def fit(self, missing: Tensor) -> None:
        """Take what it needs from the features (N, M) of the complete training samples, which no
        longer change.
        """

    def cost(self, observed: Tensor, missing: Tensor) -> Tensor:
        """What it adds to the loss, a scalar, on complete samples (B, O) and (B, M)."""


@runtime_checkable
class Inference(Protocol):
    """From made-up features to the hidden layer. A module."""

    def __call__(self, observed: Tensor, imputer: Imputer, layer: Callable[[Tensor], Tensor], noisy: bool) -> Hidden:
        """What samples (B, O) become without the missing modality; `layer` maps u to v, `noisy` in
        meta-training only.
        """

    def mismatch(self, inferred: Hidden, complete: Hidden) -> Tensor:
        """What the distance from what the same samples are when complete adds to the loss, a
        scalar.
        """


class AsImputed(nn.Module):
    """What is made up is taken for the truth."""

    def forward(self, observed: Tensor, imputer: Imputer, layer: Callable[[Tensor], Tensor], noisy: bool) -> Hidden:
        u = torch.cat([observed, imputer(observed)], dim=1)
        return Hidden(u, layer(u), u.new_zeros(()))

    def mismatch(self, inferred: Hidden, complete: Hidden) -> Tensor:
        return inferred.u.new_zeros(())


class Classifier(nn.Module):
    """v = ReLU(W₁u), then dropout and a linear map to the outputs."""

    def __init__(self, size: int, outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(size, HIDDEN), nn.Linear(HIDDEN, outputs)
        self.dropout = nn.Dropout(0.5)

    def hidden(self, u: Tensor) -> Tensor:
        v: Tensor = self.first(u).relu()
        return v

    def outputs(self, v: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.dropout(v))
        return outputs


class Observed(nn.Module):
    """The classifier on the features of modalities, zeros where one is missing."""

    def __init__(self, size: int, outputs: int) -> None:
        super().__init__()
        self.classifier = Classifier(size, outputs)

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        return self.classifier.outputs(self.classifier.hidden(torch.cat(without_missing(features, here), dim=1)))


class Completed(nn.Module):
    """The classifier on all features; those at `position`, the severely missing modality's, are
    inferred where it is missing.

    Features of other missing modalities are zeros.
    """

    def __init__(
        self, sizes: Sequence[int], position: int, outputs: int, imputer: nn.Module, inference: nn.Module
    ) -> None:
        super().__init__()
        self.position, self.size = position, sizes[position]
        self.classifier = Classifier(sum(sizes), outputs)
        self.imputer, self.inference = imputer, inference

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        observed = self.observed(features, here)
        complete, inferred = self.complete(observed, features[self.position]), self.inferred(observed)
        return self.classifier.outputs(torch.where(here[:, self.position, None], complete.v, inferred.v))

    def observed(self, features: list[Tensor], here: Tensor) -> Tensor:
        """The features (B, O) of all other modalities."""
        kept = without_missing(features, here)
        return torch.cat(kept[: self.position] + kept[self.position + 1 :], dim=1)

    def complete(self, observed: Tensor, missing: Tensor) -> Hidden:
        """What samples become that have the modality: no imputer is asked."""
        u = torch.cat([observed, missing], dim=1)
        return Hidden(u, self.classifier.hidden(u), u.new_zeros(()))

    def inferred(self, observed: Tensor, noisy: bool = False) -> Hidden:
        """What samples become that lack it."""
        hidden: Hidden = self.inference(observed, self.imputer, self.classifier.hidden, noisy)
        return hidden


def severely_missing(task: Task, missing: str | None) -> str:
    """The modality to complete: as named, or else the sound, or else the last one.

    Raises:
        BadInput: the task has no such modality, or no other.
    """
    if len(task.names) == 1:
        raise BadInput(
            f"task {task.name!r} has only {task.names[0]!r}: a missing modality is made up from others, which it lacks"
        )
    if missing is not None:
        return task.modality(missing).name
    sounds = [modality.name for modality in task.modalities if modality.kind == "audio" or modality.name == SOUND]
    return sounds[0] if sounds else task.names[-1]


def completed(task: Task, missing: str | None, make: Callable[[int, int], tuple[nn.Module, nn.Module]]) -> Fused:
    """A model that makes up a missing modality.

    Args:
        missing: which; the sound, or else the last modality, where it is None.
        make: from the number of all other features and of the missing modality's, its imputer and
            inference.

    Raises:
        BadInput: the task has no such modality, or no other.
    """
    position = task.names.index(severely_missing(task, missing))
    nets, sizes = zip(*map(network, task.modalities), strict=True)
    imputer, inference = make(sum(sizes) - sizes[position], sizes[position])
    return Fused(
        task,
        dict(zip(task.names, nets, strict=True)),
        Completed(sizes, position, task.width, imputer, inference),
    )


def observed_only(task: Task, missing: str | None = None) -> Fused:
    """SMIL's lower bound: its networks of all modalities but the severely missing one (the sound),
    which is never read.
    """
    left_out = severely_missing(task, missing)
    nets = {modality.name: network(modality) for modality in task.modalities if modality.name != left_out}
    size = sum(width for _, width in nets.values())
    return Fused(task, {name: net for name, (net, _) in nets.items()}, Observed(size, task.width))
