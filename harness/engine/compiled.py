"""`--compile`: a copy of a model whose parts go through `torch.compile`, for the search. The model
itself verifies witnesses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from attacks.region import Inputs
from harness.models.protocols import Factored
from harness.references.userfile import beneath


class Compiled(nn.Module):
    """The compiled copy of a model.

    It shares the weights of the model but does not own them, so modes and gradients change only
    once.

    Each shape needs a program of its own, so batches are padded to powers of two. The first call of
    each shape is slow.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._forward = _program(model.forward)

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        outputs: Tensor = self._forward(inputs, present)
        return outputs


class CompiledFactored(Compiled):
    """The same for a factored model."""

    def __init__(self, model: Factored) -> None:
        super().__init__(model)  # type: ignore[arg-type]
        self.encoded = model.encoded
        self._encode, self._fuse = _program(model.encode), _program(model.fuse)

    def encode(self, name: str, x: Tensor) -> Tensor:
        features: Tensor = self._encode(name, x)
        return features

    def fuse(self, features: Inputs, present: Tensor | None = None) -> Tensor:
        outputs: Tensor = self._fuse(features, present)
        return outputs


def compiled(model: nn.Module) -> Compiled:
    """The compiled copy that fits the model."""
    return CompiledFactored(model) if isinstance(model, Factored) else Compiled(model)


def _program(function: Callable[..., Tensor]) -> Callable[..., Any]:
    return beneath(function, lambda own: torch.compile(own, dynamic=False))
