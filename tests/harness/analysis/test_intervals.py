"""Intervals: against the field's own, at their edges, and in words."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from harness.analysis.intervals import (
    LEAST,
    MANY,
    RARE,
    Estimate,
    changed_samples,
    mean_interval,
    mean_score_interval,
    median_interval,
    median_strength,
    proportion,
    resampled,
)
from harness.curves import Share


@pytest.mark.parametrize(("right", "of"), [(0, 1), (0, 10), (3, 10), (10, 10), (77, 100), (150, 199), (3, 400), (995, 1000), (0, 5000)])
def test_few_samples_and_rare_outcomes_take_clopper_and_pearson(right: int, of: int) -> None:
    theirs = binomtest(right, of).proportion_ci(method="exact")
    assert Share(right / of, of).interval == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize(("right", "of"), [(100, 200), (RARE, MANY), (190, 200), (30, 1000), (5000, 10_000)])
def test_many_samples_take_wilson(right: int, of: int) -> None:
    theirs = binomtest(right, of).proportion_ci(method="wilson")
    assert Share(right / of, of).interval == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_nothing_known_says_nothing() -> None:
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
        ([LIMIT] * 50, "≥ 8 [8.00, ∞)"),
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
    assert str(Estimate(0.5)) == "0.500 (too few samples)" and Estimate(0.5).turned.text("+") == "-0.500 (too few samples)"
    assert Estimate(7.0, 6.0, inf, "≥").turned.text("+") == "≤ -7 (-∞, -6.00]"
    assert [Estimate(0.0, *ends).surely for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.1))] == [1, -1, 0, 0]
    assert Estimate(0.5).surely == 0


@pytest.mark.parametrize("size", [0.01, 0.5, 1.0])
def test_below_twenty_samples_that_differ_there_is_no_interval(size: float) -> None:
    for changed, there in ((0, False), (1, False), (LEAST - 1, False), (LEAST, True), (60, True)):
        values = np.zeros(200)
        values[:changed] = size
        assert (mean_interval(values) is not None) == there and changed_samples(values) == changed
    assert mean_interval(np.full(200, 0.3)) is None, "where all changed alike, nothing is known of how much they may differ"


def test_many_small_changes_do_not_hide_how_few_are_large() -> None:
    values = np.linspace(-0.01, 0.01, 200)
    assert mean_interval(values) is not None
    values[:5] = 1.0
    assert mean_interval(values) is None


def test_the_last_bits_of_a_sum_are_no_change() -> None:
    values = np.zeros(100)
    values[:50] = 1e-16
    assert changed_samples(values) == 0


def test_an_interval_is_the_same_for_any_order_and_scales_with_its_unit() -> None:
    values = np.random.RandomState(0).rand(300)
    low, high = mean_interval(values) or (0.0, 0.0)
    assert mean_interval(values[::-1]) == (low, high) and low < values.mean() < high
    assert mean_interval(8 * values) == pytest.approx((8 * low, 8 * high), rel=1e-6)
    assert mean_interval(-values) == pytest.approx((-high, -low), abs=0.1 * (high - low))


def test_the_share_of_an_end_is_where_the_end_lies() -> None:
    """The test's p and the interval's ends are one thing, also beyond what resamples reach."""
    found = resampled(lambda means: means[..., 0], np.random.RandomState(0).exponential(size=(100, 1)))
    assert found is not None
    for share in (1e-7, 1e-4, 0.01, 0.025, 0.3, 0.7, 0.975, 0.9999):
        assert found.share(found.end(share)) == pytest.approx(share, rel=0.02)
    ends = [found.end(share) for share in (1e-7, 1e-4, 0.025, 0.5, 0.975, 1 - 1e-4)]
    assert ends == sorted(ends)


def test_scores_have_an_interval_however_few_differ() -> None:
    assert mean_score_interval(np.ones(50)) == proportion(1.0, 50)
    few = np.r_[np.ones(48), 0.5, 0.25]
    assert mean_score_interval(few) == proportion(float(few.mean()), 50)
    many = np.random.RandomState(0).rand(50)
    low, high = mean_score_interval(many)
    assert 0 <= low < many.mean() < high <= 1 and high - low < np.diff(proportion(float(many.mean()), 50))[0]
