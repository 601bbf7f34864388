"""Made-up answers of several problems, as tallies: what the coverage of metrics is tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from harness.analysis.intervals import Array
from harness.tasks import Classification, Images, MultiLabel, Problem, Regression, Segmentation

CLASSES = 6
MANY = 100_000  # samples whose metric is taken as the truth
Draw = Callable[[np.random.RandomState, int], Array]


@dataclass(frozen=True)
class Kind:
    """Answers of one kind: tallies (count, T) by `draw`, and their metrics."""

    problem: Problem
    draw: Draw

    def metrics(self, tallies: Array) -> dict[str, float]:
        """Those over all classes together."""
        found = self.problem.metrics(torch.from_numpy(tallies))
        return {name: value for name, value in found.items() if " " not in name}

    def truth(self, random: np.random.RandomState) -> dict[str, float]:
        """The metrics of very many samples."""
        return self.metrics(self.draw(random, MANY))


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


DRAWN = {
    "classes, .87 right": Kind(Classification(3), _classes(0.8)),
    "classes, .98 right": Kind(Classification(3), _classes(0.97)),
    "values": Kind(Regression(0.5), _values),
    "labels": Kind(MultiLabel(3), _labels),
    "maps": Kind(Segmentation(CLASSES, (20, 20)), _maps),
    "images": Kind(Images((1, 4, 4)), _images),
}
