"""Metrics that too few samples decide have no interval, however many samples there are in all."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from harness.analysis.jackknife import interval, pseudo_values
from harness.tasks import Classification, MultiLabel

DRAWS = 300


@pytest.mark.parametrize(("count", "rare"), [(100, 0.05), (200, 0.02), (1000, 0.005)])
@pytest.mark.parametrize("recall", [0.7, 0.9])
def test_balanced_accuracy_with_a_rare_class_covers_where_it_is_printed(count: int, rare: float, recall: float) -> None:
    problem, generator = Classification(2), np.random.default_rng(0)
    missed = 0
    for _ in range(DRAWS):
        targets = (generator.random(count) < rare).astype(float)
        right = generator.random(count) < np.where(targets == 1, recall, 0.9)
        tallies = np.stack([np.where(right, targets, 1 - targets), targets], 1)
        if "balanced_accuracy" in problem.thin(torch.from_numpy(tallies)):
            continue
        values = pseudo_values(partial(measured, problem), tallies)["balanced_accuracy"]
        low, high = interval(values) or (-1.0, 2.0)
        missed += not low <= (recall + 0.9) / 2 <= high
    assert missed <= 0.07 * DRAWS


def measured(problem: Classification, tallies: np.ndarray) -> dict[str, float]:  # type: ignore[type-arg]
    return problem.metrics(torch.from_numpy(tallies))


@pytest.mark.parametrize(("having", "thin"), [(0, False), (5, True), (19, True), (20, False), (95, True)])
def test_average_precision_needs_samples_on_both_sides(having: int, thin: bool) -> None:
    targets = torch.zeros(100, 2, dtype=torch.float64)
    targets[:50, 0], targets[:having, 1] = 1, 1
    found = MultiLabel(2).thin(torch.cat([torch.randn(100, 2, dtype=torch.float64), targets], 1))
    assert ("mean_average_precision" in found) == thin
