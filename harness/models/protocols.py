"""The interfaces of models under test. Any object that fits works; no subclass is needed."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from attacks.region import Inputs


@runtime_checkable
class Model(Protocol):
    """Any `nn.Module` with this forward. Its verdict on one sample may not depend on the others."""

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, width) of inputs (B, ...) per modality.

        `present` is bool (B, M) in the task's order of modalities; a missing one holds its stand-in
        value. None means that all are present.
        """


@runtime_checkable
class Explaining(Protocol):
    """A model that shows how it came to its answer, for `evaluate --attributions`."""

    def explain(self, inputs: Inputs, present: Tensor | None = None) -> dict[str, Tensor]:
        """Explanations by the name of an input: for an image a map (B, h, w) of any size; for boxes
        (B, n, 5), their corners and a weight.

        Empty where it has nothing to show.
        """


@runtime_checkable
class Factored(Protocol):
    """A model in two halves, so that work on untouched modalities is done once.

    ``fuse({name: encode(name, inputs[name]) for name in encoded}, present)`` must equal
    ``forward(inputs, present)``.
    """

    encoded: tuple[str, ...]
    """The modalities the model reads."""

    def encode(self, name: str, x: Tensor) -> Tensor:
        """Features (B, ...) of one modality (B, ...), present or not."""

    def fuse(self, features: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, width) of the features."""
