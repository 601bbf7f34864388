"""The jackknife: exact for means, and its intervals cover."""

import numpy as np
import pytest

from harness.analysis.jackknife import ENOUGH, deciding, interval, metric_drop, pseudo_values

RANDOM = np.random.default_rng(3)


def root_mean_square(tallies: np.ndarray) -> dict[str, float]:
    return {"rms": float(np.sqrt((tallies[:, 0] ** 2).mean()))}


def test_pseudo_values_of_a_mean_are_the_values() -> None:
    values = RANDOM.normal(size=(30, 1)).repeat(2, axis=0)  # equal rows are left out once
    found = pseudo_values(lambda each: {"mean": float(each.mean())}, values)
    assert found["mean"] == pytest.approx(values[:, 0])


def test_the_mean_of_pseudo_values_is_the_metric() -> None:
    values = RANDOM.normal(size=(60, 1))
    assert pseudo_values(root_mean_square, values)["rms"].mean() == pytest.approx(root_mean_square(values)["rms"])


def test_a_metric_that_one_sample_carries_has_no_pseudo_values() -> None:
    values = np.array([[1.0], [0.0], [0.0]])
    assert not pseudo_values(lambda each: {"first": 1.0} if each.sum() else {}, values)


def test_few_samples_and_equal_ones_have_no_interval() -> None:
    assert interval(RANDOM.normal(size=ENOUGH - 1)) is None
    assert interval(np.ones(ENOUGH)) is None
    assert interval(np.full(ENOUGH, 0.1) + 1e-17 * RANDOM.normal(size=ENOUGH)) is None, "rounding is no influence"


def test_few_deciding_samples_make_an_interval_wide() -> None:
    one, all_alike = np.zeros(100), RANDOM.choice([-1.0, 1.0], 100)
    one[0] = 1
    assert deciding(one) == pytest.approx(1, abs=0.05)
    assert deciding(all_alike) > 90
    low, high = interval(one) or (0.0, 0.0)
    assert high - low > 0.2, "Student's with one degree of freedom"


@pytest.mark.parametrize("draw", [RANDOM.standard_normal, lambda count: RANDOM.standard_t(5, count)])
def test_intervals_of_a_root_mean_square_cover(draw) -> None:  # type: ignore[no-untyped-def]
    truth, covered, times = float(np.sqrt((draw(1_000_000) ** 2).mean())), 0, 300
    for _ in range(times):
        low, high = interval(pseudo_values(root_mean_square, draw(ENOUGH)[:, None])["rms"]) or (0.0, 0.0)
        covered += low <= truth <= high
    assert covered >= 0.91 * times, "the spread of the count itself is 1.5 %"


def test_a_drop_is_tested_on_the_same_samples() -> None:
    before = RANDOM.normal(size=200)
    after = before - 0.1 + 0.05 * RANDOM.normal(size=200)
    found = metric_drop(before, after, 0.0, 0.05)
    assert found.estimate.value == pytest.approx(0.1, abs=0.02)
    assert found.p < 1e-6 and metric_drop(before, after, 0.2, 0.05).p > 0.99
    unchanged = metric_drop(before, before, 0.0, 0.05)
    assert unchanged.p == 1 and unchanged.needed(0.05) == ENOUGH


@pytest.mark.parametrize(("total", "width", "measured"), [(60, 256, True), (60, 2563, True), (600, 1003, False)])
def test_long_tallies_of_many_samples_are_not_left_out_one_by_one(total: int, width: int, measured: bool) -> None:
    tallies = np.broadcast_to(np.arange(float(total))[:, None], (total, width))
    assert bool(pseudo_values(lambda held: {"mean": float(held[:, 0].mean())}, tallies)) == measured
