"""A small task whose answers are maps."""

from __future__ import annotations

import torch

from attacks.region import Inputs
from harness.tasks import Batch, Modality, Task
from harness.tasks.problems.segmentation import Segmentation

CLASSES, SAMPLES = 5, 6


def small(size: tuple[int, int], depth: tuple[int, ...] | None = None, more: tuple[str, ...] = ()) -> Task:
    """A task of colour and depth, and more images; the depth may have another shape."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"rgb": (3, *size), "depth": depth or size, **dict.fromkeys(more, size)}
    modalities = tuple(Modality(name, shape, "image", 0.0, 1.0) for name, shape in shapes.items())
    inputs = {name: torch.rand(SAMPLES, *shape, generator=generator) for name, shape in shapes.items()}
    targets = torch.randint(CLASSES, (SAMPLES, *size), generator=generator)
    splits = {
        split: Batch(tuple(f"{split}{row}" for row in range(SAMPLES)), inputs, targets, ("all",) * SAMPLES)
        for split in ("train", "val", "test")
    }
    return Task("small", modalities, Segmentation(CLASSES, size), splits, duplicates="allowed")


def inputs_of(task: Task) -> Inputs:
    return task.splits["test"].inputs
