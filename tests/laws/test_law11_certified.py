"""Law 11: what is certified lies below every witness, and on linear models it is the exact
strength.

The exact answers are those of law 4: closed forms, linear and integer programs, brute force.
"""

from __future__ import annotations

from functools import cache
from itertools import islice

import pytest
import torch
from torch import Tensor

from benchmarks.certified import ratios as certificates
from benchmarks.families import FAMILIES

EVERY = {"linear": 3, "limit": 9, "groups": 3, "edits": 2, "pieces": 3, "texts": 2, "relu": 2}  # so few of the cases
SCALE = 0.1
ROUNDING = 1e-4  # relative: exact answers are of float64, models of float32


@cache
def ratios(family: str) -> Tensor:
    """Certified over exact strengths, all samples under all scenarios that have both."""
    return torch.cat(list(certificates(islice(FAMILIES[family](SCALE), 0, None, EVERY[family]))))


@pytest.mark.parametrize("family", EVERY)
def test_nothing_is_certified_above_the_exact_strength(family: str) -> None:
    ratio = ratios(family)
    assert len(ratio) > 30
    assert float(ratio.max()) <= 1 + ROUNDING


@pytest.mark.parametrize("family", ["linear", "limit", "groups", "edits"])
def test_on_linear_models_it_is_the_exact_strength(family: str) -> None:
    assert float(ratios(family).min()) >= 1 - 1e-3
