"""Tasks small enough to train on within a test."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from harness.tasks import Task

SAMPLES, CLASSES, LETTERS = 300, 3, 4


def tiny(modalities: int = 3, regression: bool = False) -> Task:
    """Up to two modalities of features and, third, a one-hot text; each shows the class, with
    noise.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    letters = torch.randint(LETTERS, (SAMPLES, 3), generator=generator)
    letters[:, 0] = labels
    inputs = {
        "a": F.one_hot(labels, 6).float() + 0.2 * torch.randn(SAMPLES, 6, generator=generator),
        "b": F.one_hot(labels, 4).float() + 0.2 * torch.randn(SAMPLES, 4, generator=generator),
        "c": F.one_hot(letters, LETTERS).float(),
    }
    return Task.from_arrays(
        {name: inputs[name] for name in list(inputs)[:modalities]},
        labels.float() if regression else labels,
        kinds={"c": "text"} if modalities == 3 else {},
        ranges={"c": (0, 1)} if modalities == 3 else {},
        balls={"a": "linf:0.1", "b": "l2:0.2"} if modalities > 1 else {},
        name="tiny",
    )


class Flat(torch.nn.Module):
    """A linear model of `tiny(2)`."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(10, CLASSES)

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        answer: torch.Tensor = self.linear(torch.cat([inputs["a"], inputs["b"]], 1))
        return answer
