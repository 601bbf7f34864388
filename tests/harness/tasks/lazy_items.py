"""A data set of which items may be changed, and a model of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from harness.engine.fingerprint import fixed_rows
from harness.tasks import Classification, Task

COUNT = 40


BALLS = {"a": "linf:0.1", "b": "linf:0.1"}


def values(name: str) -> Tensor:
    return torch.randn(COUNT, 3, generator=torch.Generator().manual_seed("ab".index(name)))


LABELS = (values("a").sum(1) + 0.2 * values("b").sum(1) > 0).long()


class Net(nn.Module):
    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        total = inputs["a"].sum(1) + 0.2 * inputs["b"].sum(1)
        return torch.stack([-total, total], 1)


class Items:
    """A data set of which one item may be given otherwise."""

    def __init__(self, change: Callable[[int, dict[str, Any]], Any] = lambda index, item: item) -> None:
        self.change = change

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        item = {"a": values("a")[index], "b": values("b")[index], "label": int(LABELS[index])}
        return self.change(index, item)


def task_of(items: Any, **options: Any) -> Task:
    return Task.from_dataset(items, **{"problem": Classification(2), "balls": BALLS, "readers": 0, **options})


def late(task: Task) -> int:
    """A row that is neither among the first nor among the fixed samples."""
    return next(row for row in reversed(range(COUNT)) if row not in fixed_rows(task))
