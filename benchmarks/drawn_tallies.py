"""Made-up answers of several problems, as tallies: what the coverage of metrics is tried on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from harness.analysis.intervals import Array
from harness.tasks import Classification, Images, MultiLabel, Problem, Regression, Segmentation

CLASSES = 6
Draw = Callable[[np.random.RandomState, int], Array]


def _classes(right: float) -> Draw:
    def draw(random: np.random.RandomState, count: int) -> Array:
        truth, other = random.randint(3, size=(2, count))
        return np.stack([np.where(random.rand(count) < right, truth, other), truth], 1).astype(float)

    return draw


def _values(random: np.random.RandomState, count: int) -> Array:
    """Errors have heavy tails."""
    truth = random.randn(count)
    return np.stack([truth + 0.5 * random.standard_t(4, count), truth], 1)


def _labels(random: np.random.RandomState, count: int) -> Array:
    there = random.rand(count, 3) < 0.3
    logits = torch.from_numpy(random.randn(count, 3) + 1.5 * there)
    return MultiLabel(3).tally(logits, torch.from_numpy(there).long()).double().numpy()


def _maps(random: np.random.RandomState, count: int) -> Array:
    """Classes of very different size, and images of very different ease."""
    pixels = np.floor(400 * random.dirichlet(np.full(CLASSES, 0.5), size=count))
    ease = random.beta(6, 2, size=(count, 1)) * np.linspace(0.6, 1, CLASSES)
    hits = np.floor(pixels * ease)
    wrong = (pixels - hits).sum(1, keepdims=True) * random.dirichlet(np.ones(CLASSES), size=count)
    return np.stack([hits, pixels, hits + wrong], 2).reshape(count, -1)


def _images(random: np.random.RandomState, count: int) -> Array:
    error = random.gamma(1.5, 0.05, count)
    return np.stack([error, error**2 * random.gamma(4, 0.25, count), np.clip(1 - 3 * error, 0, 1)], 1)


DRAWN: dict[str, tuple[Problem, Draw]] = {
    "classes, .87 right": (Classification(3), _classes(0.8)),
    "classes, .98 right": (Classification(3), _classes(0.97)),
    "values": (Regression(0.5), _values),
    "labels": (MultiLabel(3), _labels),
    "maps": (Segmentation(CLASSES, (20, 20)), _maps),
    "images": (Images((1, 4, 4)), _images),
}
