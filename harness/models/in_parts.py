"""A model that takes only a few samples at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attacks.region import Inputs


class InParts(nn.Module):
    """Gives a model a batch in parts of at most this many samples, and joins its answers."""

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        self.model, self.size = model, size

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, *shape)."""
        parts = [slice(start, start + self.size) for start in range(0, len(next(iter(inputs.values()))), self.size)]
        return torch.cat(
            [
                self.model({name: x[part] for name, x in inputs.items()}, None if present is None else present[part])
                for part in parts
            ]
        )
