"""Law 11: what is certified lies below every witness, and on linear models it is the exact
strength.

The exact answers are those of law 4: closed forms, linear and integer programs, brute force.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

import pytest
import torch
from torch import Tensor

from attacks.certify import Guarded, Uncertified, certified_strength
from attacks.objective import Classification
from attacks.scenario import Scenario, closure
from benchmarks.cases import Case, compared
from benchmarks.exact import searched
from benchmarks.families import FAMILIES
from harness.tasks.problems.problem import Classification as Labels

EVERY = {"linear": 3, "limit": 9, "groups": 3, "edits": 2, "pieces": 3, "texts": 2, "relu": 2}  # so few of the cases
SCALE = 0.1
ROUNDING = 1e-4  # relative: exact answers are of float64, models of float32


def cases(family: str) -> Iterator[Case]:
    return islice(FAMILIES[family](SCALE), 0, None, EVERY[family])


def certified(case: Case, scenario: Scenario) -> Tensor | None:
    """The certified strengths (B,); None where no linear bound covers the scenario."""
    objective = case.objective
    assert isinstance(objective, Classification)
    problem = Labels(objective.forward(case.inputs).shape[1])
    guarded = Guarded(objective.forward, lambda outputs: problem.withstood(outputs, objective.labels))
    most = torch.full((len(objective.labels),), case.limit, dtype=torch.float64)
    try:
        return certified_strength(guarded, case.inputs, case.bounds, scenario, most).strength
    except Uncertified:
        return None


@cache
def ratios(family: str) -> Tensor:
    """Certified over exact strengths, all samples under all scenarios that have both."""
    found = []
    for case in cases(family):
        known = searched(case, "fast")
        for scenario in closure([case.scenario]):
            exact, bound = case.exact(scenario, known[scenario].strength), certified(case, scenario)
            if bound is not None:
                rows = compared(exact) & (exact <= case.limit)
                found.append((bound / exact)[rows])
    return torch.cat(found)


@pytest.mark.parametrize("family", EVERY)
def test_nothing_is_certified_above_the_exact_strength(family: str) -> None:
    ratio = ratios(family)
    assert len(ratio) > 30
    assert float(ratio.max()) <= 1 + ROUNDING


@pytest.mark.parametrize("family", ["linear", "limit", "groups", "edits"])
def test_on_linear_models_it_is_the_exact_strength(family: str) -> None:
    assert float(ratios(family).min()) >= 1 - 1e-3
