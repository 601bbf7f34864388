"""A linear layer for each of two inputs, called in different ways, and a task for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.tasks import Task

SAMPLES, CLASSES = 12, 3


def task(shapes: dict[str, tuple[int, ...]] | None = None) -> Task:
    """An image (1, 4, 4) and a sound (6,), unless shapes are given."""
    generator = torch.Generator().manual_seed(0)
    shapes = shapes or {"image": (1, 4, 4), "sound": (6,)}
    inputs = {name: torch.randn(SAMPLES, *shape, generator=generator) for name, shape in shapes.items()}
    return Task.from_arrays(inputs, torch.arange(SAMPLES) % CLASSES)


class Halves(nn.Module):
    """A linear layer for each input; subclasses call them in their own way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.seen, self.heard = nn.Linear(16, CLASSES), nn.Linear(6, CLASSES)

    def both(self, image: Tensor, sound: Tensor) -> Tensor:
        logits: Tensor = self.seen(image.flatten(1)) + self.heard(sound)
        return logits


class Positional(Halves):
    def forward(self, first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.both(first, second)


class Ours(Halves):
    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        return self.both(inputs["image"], inputs["sound"])
