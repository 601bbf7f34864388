"""Paired drops: in their error rates, their power, their signs, and by property."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.bca import LEAST
from harness.analysis.paired import ALPHA, difference, drop_of, least_drop, mean_drop, median_drop, rejected
from harness.analysis.trinomial import trinomial_interval

LIMIT = 8.0


def outcomes(lost: int, won: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Before and after, of pairs of which some were lost and some won."""
    before, after = np.ones(pairs), np.ones(pairs)
    after[:lost], before[lost : lost + won] = 0, 0
    return before, after


def test_a_drop_is_before_less_after() -> None:
    before, after = outcomes(12, 2, 50)
    found = mean_drop(before, after, 0.0, 0.1)
    assert found.estimate.value == pytest.approx(0.2) and found.estimate.surely == 1 and found.p < 0.01
    assert (found.estimate.low, found.estimate.high) == trinomial_interval(12, 2, 50)
    assert (
        mean_drop(after, before, 0.0, 0.1).estimate == found.estimate.turned
        and mean_drop(after, before, 0.0, 0.1).p > 0.99
    )
    assert median_drop(3 * before, 2 * before, LIMIT, 0.0, 0.1).estimate.value == pytest.approx(1.0)
    columns = np.stack([np.ones(50), before], 1), np.stack([np.ones(50), after], 1)
    assert least_drop(*columns, 0.0, 0.1).estimate.value == pytest.approx(0.2)


def test_what_changed_by_whole_outcomes_is_counted_whatever_it_changed_from() -> None:
    """The gap to an oracle lies between -1 and 1; how it changes is lost, won or neither all the
    same.
    """
    before, after = outcomes(7, 3, 60)
    assert drop_of(before - 1, after - 1) == drop_of(before, after)


def test_a_passing_score_that_nothing_happened_to_needs_few_samples() -> None:
    """No pair differs: a few dozen pairs, graded or not, are enough to exclude a large drop."""
    before = np.ones(100)
    assert mean_drop(before, before, 0.0, 0.1).needed(ALPHA) <= 100
    assert mean_drop(0.3 * before, 0.3 * before, 0.0, 0.1).needed(ALPHA) <= 100
    assert mean_drop(0.3 * before[:10], 0.3 * before[:10], 0.0, 0.1).needed(ALPHA) > 10


@pytest.mark.parametrize("changed", [0, 1, 5, LEAST - 1])
def test_few_graded_changes_have_no_interval_and_fail_nothing(changed: int) -> None:
    before = np.full(100, 0.75)
    after = before - 0.5 * (np.arange(100) < changed)
    found = mean_drop(before, after, 0.0, 0.1)
    assert found.estimate.low is None and found.p == 1.0 and "too few samples" in str(found.estimate)
    assert (found.needed(ALPHA) <= 100) == (changed <= 5), "of a drop by 0.1 at least ten samples get worse, mostly"


def test_a_drop_that_would_be_missed_does_not_pass() -> None:
    """A true drop of `effect`, in fewer changes than have an interval: it passes at most one time
    in five.
    """
    random, passed = np.random.RandomState(0), 0
    for _ in range(300):
        before = np.full(100, 1.0)
        after = before - 0.999 * (random.rand(100) < 0.1)
        found = mean_drop(before, after, 0.0, 0.0999)
        passed += found.p > ALPHA and found.needed(ALPHA) <= 100
    assert passed <= 0.2 * 300 + 14, "two standard errors"


def test_graded_drops_fail_at_the_stated_rate_and_are_found() -> None:
    random = np.random.RandomState(1)
    before = random.randint(4, size=(400, 150)) / 3
    noise = random.choice([-1, 0, 1], p=[0.15, 0.7, 0.15], size=before.shape) / 3
    null = np.mean([mean_drop(b, b + n, 0.0, 0.05).p < ALPHA for b, n in zip(before, noise, strict=True)])
    assert null < 0.05 + 0.02
    worse = np.where(random.rand(*before.shape) < 0.3, np.maximum(before - 1 / 3, 0), before)
    assert np.mean([mean_drop(b, w, 0.0, 0.05).p < ALPHA for b, w in zip(before, worse, strict=True)]) > 0.95


def test_the_count_that_a_graded_gate_asks_for_has_the_power() -> None:
    random, found = np.random.RandomState(2), []
    for _ in range(200):
        changes = 0.05 + random.choice([-0.3, 0.0, 0.3], p=[0.2, 0.6, 0.2], size=150)
        pairs = min(mean_drop(changes, np.zeros(150), 0.0, 0.05).needed(ALPHA), 2_000)
        more = 0.05 + random.choice([-0.3, 0.0, 0.3], p=[0.2, 0.6, 0.2], size=pairs)
        found.append(mean_drop(more, np.zeros(pairs), 0.0, 0.05).p < ALPHA)
    assert np.mean(found) > 0.80 - 0.06


@pytest.mark.parametrize("pairs", [50, 100, 300])
def test_a_median_fails_at_the_stated_rate_and_a_drop_is_found(pairs: int) -> None:
    random, swapped, worse = np.random.RandomState(0), [], []
    for _ in range(200):
        ours, theirs = random.exponential(1.5, (2, pairs))
        swapped.append(median_drop(ours, theirs, LIMIT, 0.0, 0.1).p < ALPHA)
        worse.append(median_drop(ours, ours * 0.3, LIMIT, 0.0, 0.1).p < ALPHA)
    assert np.mean(swapped) < 0.05 + 0.03 and np.mean(worse) > 0.75


def test_the_count_that_a_median_asks_for_has_the_power() -> None:
    random, found = np.random.RandomState(0), []
    for _ in range(100):
        base = 1 + random.exponential(1.5, 200)
        pairs = median_drop(base, base, LIMIT, 0.0, 0.5).needed(ALPHA)
        before = 1 + random.exponential(1.5, pairs)
        found.append(median_drop(before, before - 0.5, LIMIT, 0.0, 0.5).p < ALPHA)
    assert np.mean(found) > 0.80


OPEN: dict[str, tuple[float, float, str]] = {
    "both known": (3.0, 1.0, "-2.000 [-2.00, -2.00]"),
    "A beyond": (inf, 1.0, "≤ -7 (-∞, -7.00]"),
    "B beyond": (1.0, inf, "≥ +7 [+7.00, ∞)"),
    "both beyond": (inf, inf, "unknown (-∞, ∞)"),
}


@pytest.mark.parametrize("name", OPEN)
def test_the_change_of_a_median_beyond_the_search_is_open(name: str) -> None:
    before, after, said = OPEN[name]
    drop = median_drop(np.full(50, before), np.full(50, after), LIMIT, 0.0, 0.1)
    assert drop.estimate.turned.text("+") == said


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=60))
def test_a_median_drop_lies_in_its_interval(strengths: list[tuple[float, float]]) -> None:
    before, after = np.array(strengths).T
    found = median_drop(before, after, LIMIT, 0.0, 0.1)
    assert found.estimate.low is not None and found.estimate.high is not None and 0 < found.p <= 1
    assert found.estimate.bound or found.estimate.low <= found.estimate.value <= found.estimate.high


def test_the_least_of_several_fails_where_its_own_column_fell_and_only_there() -> None:
    random = np.random.RandomState(0)
    before = (random.rand(300, 3) < [0.9, 0.4, 0.8]).astype(float)
    fell, beside = before.copy(), before.copy()
    fell[:, 1] *= random.rand(300) > 0.4
    beside[:, 0] *= random.rand(300) > 0.2
    found = least_drop(before, fell, 0.0, 0.05)
    assert found.p < 0.001 and found.estimate.surely == 1
    assert (
        least_drop(before, beside, 0.0, 0.05).p > ALPHA and least_drop(before, beside, 0.0, 0.05).estimate.surely == 0
    )
    assert (found.estimate.low, found.estimate.high) == pytest.approx(
        (drop_of(before[:, 1], fell[:, 1]).low, drop_of(before[:, 1], fell[:, 1]).high)
    )


def test_the_least_of_several_equal_scores_fails_at_the_stated_rate() -> None:
    random = np.random.RandomState(0)
    p = [least_drop(*(random.rand(2, 100, 3) < 0.6).astype(float), 0.0, 0.1).p for _ in range(200)]
    assert np.mean(np.array(p) <= ALPHA) <= 0.05 + 0.03


def test_a_difference_is_paired_over_seeds_and_samples() -> None:
    easy = np.random.RandomState(0).rand(3, 400) < np.linspace(0, 1, 400)  # samples differ much more than systems
    theirs = easy.astype(float)
    ours = theirs + 0.02 * (np.arange(400) % 3 == 0)
    found = difference(ours, theirs)
    assert found.value == pytest.approx(0.02 * 134 / 400) and found.surely == 1
    assert found.high is not None and found.high < 0.01, "what all pairs share has no spread"


def test_a_difference_widens_with_seeds_that_disagree() -> None:
    agreeing = 0.1 + 0.05 * np.random.RandomState(0).randn(1, 200) + np.zeros((3, 1))
    disagreeing = agreeing + np.array([[-0.2], [0.0], [0.2]])
    zeros = np.zeros((1, 200))
    narrow, wide = difference(agreeing, zeros), difference(disagreeing, zeros)
    assert narrow.value == pytest.approx(wide.value)
    assert narrow.surely == 1 and wide.surely == 0


def test_one_seed_or_few_samples_that_differ_have_no_interval() -> None:
    gaps = np.random.RandomState(0).randn(3, 200)
    assert difference(gaps[:1], 0 * gaps[:1]).low is None
    gaps[:, LEAST - 1 :] = 0
    assert difference(gaps, 0 * gaps).low is None and difference(gaps, 0 * gaps).surely == 0


def test_benjamini_and_hochbergs_own_example() -> None:
    """Their table: of fifteen, the first four fall."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    assert rejected(p) == [True] * 4 + [False] * 11
    assert rejected(p[::-1]) == [False] * 11 + [True] * 4 and rejected([]) == []
    assert rejected([0.04, 0.045]) == [True, True], "a larger one that falls takes the smaller with it"
