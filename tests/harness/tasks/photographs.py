"""A task of photographs that are read one at a time, and a model of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from harness.tasks import Classification, Task

COUNT = 24


OPTIONS: dict[str, Any] = {"kinds": {"image": "image"}, "ranges": {"image": (0, 255)}, "absent": {"image": 0.0}}


BALLS = {"image": "linf:8", "sensor": "linf:0.1"}


def arrays(count: int = COUNT) -> tuple[dict[str, Tensor], Tensor]:
    """Images of whole numbers, and features."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)
    sensor = torch.randn(count, 4, generator=generator)
    return {"image": image, "sensor": sensor}, (image.flatten(1).float().mean(1) / 128 + sensor.sum(1) > 1).long()


class Photographs(Dataset[Any]):
    """Counts what is read, in this process."""

    def __init__(self, form: str = "pair", count: int = COUNT) -> None:
        self.inputs, self.targets = arrays(count)
        self.form, self.read = form, list[int]()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        held = {name: x[index] for name, x in self.inputs.items()}
        target = int(self.targets[index])
        forms: dict[str, Callable[[], Any]] = {
            "pair": lambda: (held, target),
            "dictionary": lambda: {**held, "label": target},
            "tuple": lambda: (*held.values(), target),
            "arrays": lambda: ({name: x.numpy() for name, x in held.items()}, np.int64(target)),
        }
        return forms[self.form]()


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        total = self.weight * (inputs["image"].flatten(1).mean(1) / 128 + inputs["sensor"].sum(1) - 1)
        return torch.stack([-total, total], 1)


def lazy(dataset: Any = None, **options: Any) -> Task:
    kept = {"modalities": ("image", "sensor"), "balls": BALLS, "readers": 0, **OPTIONS, **options}
    return Task.from_dataset(
        Photographs() if dataset is None else dataset, problem=Classification(2), name="photos", **kept
    )
