"""The flag `budget` sees a search that stopped beside a step of an edit, at its limit, or at a
class that is not the nearest.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from attacks.objective import Classification
from attacks.presets import STANDARD
from attacks.region import Bounds, Inputs, Range, Region
from attacks.scenario import Scenario, parse
from attacks.search import search
from harness.trust.attack_checks import budget
from harness.trust.checks import Case, Tally

SAMPLES = 10


def linear(classes: int, similar: int = 1, seed: int = 0) -> tuple[Classification, Inputs, Bounds]:
    """Two modalities in [0, 1]; classes in groups of `similar` ones."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: (
            torch.randn(classes // similar, size, generator=generator).repeat_interleave(similar, 0)
            + 0.2 * torch.randn(classes, size, generator=generator)
        )
        for name, size in {"a": 20, "b": 12}.items()
    }
    inputs = {name: torch.rand(SAMPLES, weight.shape[1], generator=generator) for name, weight in weights.items()}

    def logits(given: Inputs) -> Tensor:
        return sum((given[name] @ weight.T for name, weight in weights.items()), torch.zeros(()))

    return Classification(logits, logits(inputs).argmax(1)), inputs, {name: Range(0.0, 1.0) for name in inputs}


def raised(problem: tuple[Classification, Inputs, Bounds], scenario: Scenario, strengths: Tensor) -> bool:
    objective, inputs, bounds = problem
    names = [str(row) for row in range(SAMPLES)]
    tally = Tally(SAMPLES, 0.0, float((strengths > 1).double().mean()), 20.0)
    case = Case(cast(Any, objective), Region.of(inputs, bounds, scenario), names, 0, strengths, tally, True, STANDARD)
    (flag,) = budget(case)
    return flag.raised


@pytest.mark.parametrize(
    ("classes", "similar", "scenario"),
    [
        (2, 1, "a@l1:0.5 + b@l0:1"),
        (3, 1, "a@l2:0.2 + b@l0:2"),
        (2, 1, "a@linf:0.1 + b@stuck:1"),
        (4, 1, "a@linf:0.03 + b@shift:1"),
        (32, 8, "a@linf:0.02"),
        (32, 8, "a@l2:0.1 + b@l1:0.2"),
        (40, 8, "a@l1:0.5"),
        (3, 1, "a@linf:0.02"),
        (10, 1, "a@l1:0.3 + b@linf:0.02"),
    ],
)
@pytest.mark.parametrize("above", [1.03, 1.3, float("inf")])
def test_a_search_that_stopped_too_early_is_flagged(classes: int, similar: int, scenario: str, above: float) -> None:
    problem = linear(classes, similar)
    best = search(*problem, scenario, algorithm=STANDARD).strength
    assert not raised(problem, parse(scenario), best)
    assert raised(problem, parse(scenario), best * above)
