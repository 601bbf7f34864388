"""A task whose samples lack modalities, and a model of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from harness.tasks import Task

SAMPLES, LIMIT = 24, 8.0


LACKING = {"a": [0, 5, 7], "b": [1, 5 + 1, 8, 9]}  # rows that came without a modality


def arrays() -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(SAMPLES, 3, generator=generator) for name in ("a", "b")}
    return inputs, (sum(inputs.values()).sum(1) > 0).long()


def mask() -> Tensor:
    there = torch.ones(SAMPLES, 2, dtype=torch.bool)
    for column, rows in enumerate(LACKING.values()):
        there[rows, column] = False
    return there


def incomplete(splits: Any = "test", **options: Any) -> Task:
    inputs, targets = arrays()
    return Task.from_arrays(inputs, targets, present=mask(), splits=splits, name="incomplete", **options)


class Sum(nn.Module):
    """The sign of the sum of what is there; it raises where an absent modality holds values."""

    def forward(self, inputs: dict[str, Tensor], present: Tensor) -> Tensor:
        for column, name in enumerate(("a", "b")):
            assert not inputs[name][~present[:, column]].any(), "absent inputs hold their stand-in"
        total = sum(x.sum(1) for x in inputs.values())
        return torch.stack([-total, total], 1)
