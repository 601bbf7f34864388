"""Optional interfaces of a model for the recipes here."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from attacks.region import Inputs


@runtime_checkable
class OddOneOut(Protocol):
    """A factored model that finds the modality that is inconsistent with the rest."""

    encoded: tuple[str, ...]
    """The modalities the model reads."""

    def odd(self, features: Inputs, present: Tensor | None = None) -> Tensor:
        """Probabilities (B, k + 1) of k features: entry i that modality i is inconsistent, the last
        that all are consistent.
        """


@runtime_checkable
class Experts(Protocol):
    """A factored model that mixes experts, and can answer by each expert alone."""

    def alone(self, features: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, experts, width) of each expert alone."""


@runtime_checkable
class Penalised(Protocol):
    """A module whose weights cost something in training."""

    def penalty(self) -> Tensor:
        """A penalty to add to the loss, a scalar."""


def penalty(model: nn.Module, like: Tensor) -> Tensor:
    """The penalties of all modules of a model, a scalar; zero, on the device of `like`, if it has
    no penalties.
    """
    return sum(
        (module.penalty() for module in model.modules() if isinstance(module, Penalised)), torch.zeros_like(like)
    )
