"""Law 4: a linear model has an exact critical strength, and the search comes within 2 % of it."""

from itertools import combinations

import pytest

from attacks.norms import NORMS
from attacks.presets import STANDARD
from attacks.scenario import parse
from attacks.search import search
from benchmarks.oracles.linear import random_linear

RADII = {
    "a": {"linf": 0.05, "l2": 0.1, "l1": 0.3},
    "b": {"linf": 0.02, "l2": 0.3, "l1": 0.2},
    "c": {"linf": 0.04, "l2": 0.2, "l1": 0.4},
}
SUBSETS = [names for size in (1, 2, 3) for names in combinations("abc", size)]
MIXED = ["a@linf:0.05 + b@l2:0.1", "a@l1:0.3 + b@linf:0.05", "a@l2:0.1 + b@linf:0.02 + c@l1:0.4"]
SCENARIOS = [" + ".join(f"{name}@{norm}:{RADII[name][norm]}" for name in names) for norm in NORMS for names in SUBSETS]


def check(scenario: str, classes: int, bounded: bool, samples: int) -> None:
    model = random_linear(classes, samples, bounded=bounded, seed=classes)
    found = search(model.objective(), model.inputs, model.bounds, scenario, algorithm=STANDARD, limit=100.0).strength
    exact = model.exact(parse(scenario))
    within = exact <= 100
    assert bool(within.any())
    ratio = found[within] / exact[within]
    assert float(ratio.min()) > 1 - 1e-4, "nothing can be below the exact strength"
    assert float(ratio.max()) < 1.02
    assert bool(found[exact > 100].isinf().all())


@pytest.mark.parametrize("scenario", [*SCENARIOS, *MIXED])
@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("bounded", [False, True])
def test_search_reaches_the_exact_strength(scenario: str, classes: int, bounded: bool) -> None:
    check(scenario, classes, bounded, samples=3)


@pytest.mark.parametrize("samples", [1, 64])
@pytest.mark.parametrize("scenario", MIXED)
@pytest.mark.parametrize("bounded", [False, True])
def test_at_any_batch_size(scenario: str, bounded: bool, samples: int) -> None:
    check(scenario, 4, bounded, samples)
