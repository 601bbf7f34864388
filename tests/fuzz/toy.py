"""A small task of every kind of input."""

from __future__ import annotations

import torch

from harness.tasks import Task


def toy() -> Task:
    """A task of every kind of modality."""
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "image": torch.rand(20, 1, 4, 4, generator=generator),
        "audio": torch.rand(20, 16, generator=generator),
        "text": torch.nn.functional.one_hot(torch.randint(3, (20, 5), generator=generator), 3).float(),
    }
    kinds, ranges = {name: name for name in inputs}, dict.fromkeys(inputs, (0, 1))
    return Task.from_arrays(inputs, torch.arange(20) % 2, kinds=kinds, ranges=ranges)


TOY = toy()
