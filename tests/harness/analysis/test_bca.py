"""BCa: where it has an interval, that its ends agree with its p, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis import bca
from harness.analysis.bca import LEAST, changed_samples, mean_interval, mean_score_interval, resampled
from harness.analysis.intervals import proportion


@pytest.mark.parametrize("size", [0.01, 0.5, 1.0])
def test_below_twenty_samples_that_differ_there_is_no_interval(size: float) -> None:
    for changed, there in ((0, False), (1, False), (LEAST - 1, False), (LEAST, True), (60, True)):
        values = np.zeros(200)
        values[:changed] = size
        assert (mean_interval(values) is not None) == there and changed_samples(values) == changed
    assert mean_interval(np.full(200, 0.3)) is None, (
        "where all changed alike, nothing is known of how much they may differ"
    )


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
    """The test's p agrees with the interval's ends, also beyond the range of the resamples."""
    found = resampled(lambda means: means[..., 0], np.random.RandomState(0).exponential(size=(100, 1)))
    assert found is not None
    for share in (1e-7, 1e-4, 0.01, 0.025, 0.3, 0.7, 0.975, 0.9999):
        assert found.share(found.end(share)) == pytest.approx(share, rel=0.02)
    assert found.share(-1e6) < 1e-9 and found.share(1e6) > 1 - 1e-9
    ends = [found.end(share) for share in (1e-7, 1e-4, 0.025, 0.5, 0.975, 1 - 1e-4)]
    assert ends == sorted(ends)


def test_scores_have_an_interval_however_few_differ() -> None:
    assert mean_score_interval(np.ones(50)) == proportion(1.0, 50)
    few = np.r_[np.ones(48), 0.5, 0.25]
    assert mean_score_interval(few) == proportion(float(few.mean()), 50)
    many = np.random.RandomState(0).rand(50)
    low, high = mean_score_interval(many)
    assert 0 <= low < many.mean() < high <= 1 and high - low < np.diff(proportion(float(many.mean()), 50))[0]


def test_the_interval_of_many_values_is_that_of_drawing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.RandomState(0).exponential(size=(6_000, 2))

    def found() -> tuple[float, float]:
        drawn = resampled(lambda means: means[..., 0] / means[..., 1], scores)
        assert drawn is not None
        return drawn.interval()

    normal = found()
    monkeypatch.setattr(bca, "MANY_VALUES", 6_000)
    assert normal == pytest.approx(found(), abs=0.1 * (normal[1] - normal[0]))
