"""Calling a model whose untouched modalities have been encoded already."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from attacks.region import Inputs
from harness.models.protocols import Factored


def encoded_still(model: nn.Module, inputs: Inputs, moving: Collection[str]) -> Inputs:
    """The features of all inputs of a factored model that do not move; empty for a model that is
    not factored.
    """
    if not isinstance(model, Factored):
        return {}
    return {name: model.encode(name, inputs[name]) for name in model.encoded if name not in moving}


def answered(model: nn.Module, inputs: Inputs, kept: Inputs, present: Tensor | None) -> Tensor:
    """The outputs on inputs (B, ...), with the features `kept` (see `encoded_still`) in place of
    their inputs.
    """
    if kept and isinstance(model, Factored):
        return model.fuse({**kept, **encoded_still(model, inputs, kept)}, present)
    outputs: Tensor = model(inputs, present)
    return outputs
