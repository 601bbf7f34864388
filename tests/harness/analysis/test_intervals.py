"""Intervals: against the field's own, at their edges, and in words."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from harness.analysis.curves import Share
from harness.analysis.intervals import (
    MANY,
    RARE,
    Estimate,
    median_interval,
    median_strength,
    proportion,
)


@pytest.mark.parametrize(
    ("right", "of"), [(0, 1), (0, 10), (3, 10), (10, 10), (77, 100), (150, 199), (3, 400), (995, 1000), (0, 5000)]
)
def test_few_samples_and_rare_outcomes_take_clopper_and_pearson(right: int, of: int) -> None:
    theirs = binomtest(right, of).proportion_ci(method="exact")
    assert Share(right / of, of).interval == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize(("right", "of"), [(100, 200), (RARE, MANY), (190, 200), (30, 1000), (5000, 10_000)])
def test_many_samples_take_wilson(right: int, of: int) -> None:
    theirs = binomtest(right, of).proportion_ci(method="wilson")
    assert Share(right / of, of).interval == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_without_samples_the_interval_is_everything() -> None:
    assert Share(0.0, 0).interval == (0.0, 1.0)


@given(st.floats(0, 1), st.integers(1, 2000))
def test_the_ends_of_a_proportion_enclose_it(mean: float, samples: int) -> None:
    low, high = proportion(mean, samples)
    assert 0 <= low <= mean <= high <= 1 and low < high


def test_the_ends_are_exact_where_all_or_none_are_right() -> None:
    for samples in range(1, 400):
        assert proportion(1.0, samples)[1] == 1.0 and proportion(0.0, samples)[0] == 0.0


@pytest.mark.parametrize("count", range(1, 60))
def test_a_median_lies_between_its_order_statistics_often_enough(count: int) -> None:
    """With n values the chance that fewer than r lie below the median is a binomial's."""
    low, high = median_interval(np.arange(count, dtype=float))
    if low == -inf:
        assert high == inf and 2 * binom.cdf(0, count, 0.5) > 0.05
    else:
        assert 1 - 2 * binom.cdf(low, count, 0.5) >= 0.95 and low + high == count - 1


LIMIT = 8.0


@pytest.mark.parametrize(
    ("strengths", "said"),
    [
        ([1.0] * 50, "1.000 [1.00, 1.00]"),
        ([inf] * 50, "≥ 8 [8.00, ∞)"),
        ([LIMIT] * 50, "8.000 [8.00, 8.00]"),
        ([9.0] * 50, "≥ 8 [8.00, ∞)"),
        ([1.0] * 20 + [inf] * 30, "≥ 8 [1.00, ∞)"),
        ([1.0] * 28 + [inf] * 22, "1.000 [1.00, ∞)"),
        ([1.0] * 25 + [inf] * 25, "≥ 4.5 [1.00, ∞)"),
        ([1.0] * 3, "1.000 [0.00, ∞)"),
    ],
)
def test_a_median_beyond_the_search_is_a_bound(strengths: list[float], said: str) -> None:
    assert median_strength(np.array(strengths), LIMIT).text() == said


def test_how_an_estimate_reads() -> None:
    assert str(Estimate(0.5, 0.4, 0.6)) == "0.500 [0.40, 0.60]"
    assert Estimate(0.5, 0.4, 0.6).turned.text("+") == "-0.500 [-0.60, -0.40]"
    assert Estimate(-0.00001, -0.1, 0.1).text("+") == "+0.000 [-0.10, +0.10]"
    assert str(Estimate(0.17149, 0.844996, 0.8450001)) == "0.171 [0.84, 0.85]", "rounded once"
    assert (
        str(Estimate(0.5)) == "0.500 (too few samples)" and Estimate(0.5).turned.text("+") == "-0.500 (too few samples)"
    )
    assert Estimate(7.0, 6.0, inf, "≥").turned.text("+") == "≤ -7 (-∞, -6.00]"
    assert [Estimate(0.0, *ends).surely for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.1))] == [
        1,
        -1,
        0,
        0,
    ]
    assert Estimate(0.5).surely == 0
