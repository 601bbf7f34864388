"""The frame every plain fusion shares: encoders g_m, features z_m = g_m(x_m), a fusion h."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attacks.norms import per_sample
from attacks.region import Inputs
from harness.tasks import Task


class Fused(nn.Module):
    """h(g_1(x_1), ..., g_M(x_M)) over the modalities it has an encoder for.

    Args:
        task: gives the order of `present`.
        encoders: per modality that is read, and per input that the task gives besides, which is
            always present.
        fusion: maps features, a list of (B, ...) in the order of the encoders, and present, bool
            (B, len(encoders)), to outputs (B, width). It may not let a missing modality through.
    """

    def __init__(self, task: Task, encoders: Mapping[str, nn.Module], fusion: nn.Module) -> None:
        super().__init__()
        self.encoded = tuple(encoders)
        self.columns = [task.names.index(name) for name in encoders if name not in task.extra_inputs]
        self.given = [name in task.extra_inputs for name in encoders]
        self.encoders = nn.ModuleDict({_key(name): encoder for name, encoder in encoders.items()})
        self.fusion = fusion

    def encode(self, name: str, x: Tensor) -> Tensor:
        """Features (B, ...) of one modality in raw units."""
        features: Tensor = self.encoders[_key(name)](x)
        return features

    def fuse(self, features: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, width); a missing modality's features have no influence."""
        outputs: Tensor = self.fusion(*self.ordered(features, present))
        return outputs

    def ordered(self, features: Inputs, present: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """The features in the order of the encoders and present, bool (B, len(encoders)), as the
        fusion takes them.
        """
        ordered = [features[name] for name in self.encoded]
        here = torch.ones(len(ordered[0]), len(ordered), dtype=torch.bool, device=ordered[0].device)
        if present is not None:
            here[:, [position for position, given in enumerate(self.given) if not given]] = present[:, self.columns]
        return ordered, here

    def explain(self, inputs: Inputs, present: Tensor | None = None) -> dict[str, Tensor]:
        """The explanation that the fusion gives of its answer; see
        `harness.models.protocols.Explaining`.
        """
        explained = getattr(self.fusion, "explained", None)
        if explained is None:
            return {}
        at, shown = explained(*self.ordered({name: self.encode(name, inputs[name]) for name in self.encoded}, present))
        return {} if shown is None else {self.encoded[at]: shown}

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, width) of inputs (B, ...) per modality."""
        return self.fuse({name: self.encode(name, inputs[name]) for name in self.encoded}, present)


def _key(name: str) -> str:
    """A modality's name where torch can hold it as the name of a module ('cam.left' and 'type' it
    cannot).

    Escaped with characters that no modality's name has.
    """
    taken = "." in name or hasattr(nn.ModuleDict(), name)
    return f"@{name.replace('.', ':')}" if taken else name


def without_missing(features: list[Tensor], here: Tensor) -> list[Tensor]:
    """The features with zeros where a modality is missing."""
    return [torch.where(per_sample(column, z), z, 0.0) for z, column in zip(features, here.unbind(1), strict=True)]
