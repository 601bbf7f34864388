"""The paired tests: against the likelihood, in their error rates, and by property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from harness.curves import Z
from harness.gates.paired import (
    ALPHA,
    binary_drop,
    bootstrap_drop,
    mean_drop,
    normal_point,
    rejected,
    score_pairs,
    tango,
    tango_interval,
)

DRAWS = 20_000
GRID = [(pairs, discordance) for pairs in (50, 100, 300) for discordance in (0.05, 0.15, 0.4)]


def outcomes(lost: int, won: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Before and after, of pairs of which some were lost and some won."""
    before, after = np.ones(pairs), np.ones(pairs)
    after[:lost], before[lost : lost + won] = 0, 0
    return before, after


def drawn(pairs: int, drop: float, discordance: float, draws: int = DRAWS) -> tuple[np.ndarray, np.ndarray]:
    """How many pairs were lost and won, in many experiments of a true drop."""
    chances = [(discordance + drop) / 2, (discordance - drop) / 2, 1 - discordance]
    counts = np.random.RandomState(0).multinomial(pairs, chances, draws)
    return counts[:, 0], counts[:, 1]


@pytest.mark.parametrize(("lost", "won", "pairs"), [(12, 2, 50), (5, 1, 60), (3, 9, 44), (40, 20, 160)])
def test_the_statistic_is_the_score_at_the_likeliest_outcomes_with_that_drop(lost: int, won: int, pairs: int) -> None:
    """The closed form against a search for the maximum of the likelihood, and the interval's ends at 95 %."""

    def statistic(drop: float) -> float:
        def unlikely(q: float) -> float:
            return -(lost * np.log(q + drop) + won * np.log(q) + (pairs - lost - won) * np.log(1 - 2 * q - drop))

        bounds = (max(0.0, -drop) + 1e-9, (1 - drop) / 2 - 1e-9)
        q = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return float((lost - won - pairs * drop) / np.sqrt(pairs * (2 * q + drop - drop**2)))

    for drop in (-0.2, 0.02, 0.1, 0.3):
        assert float(tango(np.array(lost), np.array(won), pairs, drop)) == pytest.approx(statistic(drop), abs=1e-4)
    low, high = tango_interval(lost, won, pairs)
    assert statistic(low) == pytest.approx(Z, abs=1e-3) and statistic(high) == pytest.approx(-Z, abs=1e-3)


def test_the_interval_where_no_pair_differs() -> None:
    """Then the score test is solved by z² / (n + z²)."""
    assert tango_interval(0, 0, 54) == pytest.approx((-(Z**2) / (54 + Z**2), Z**2 / (54 + Z**2)))


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_at_no_shift_it_is_mcnemars_and_its_interval_encloses_the_point(lost: int, won: int, same: int) -> None:
    pairs = lost + won + same
    z = float(tango(np.array(lost), np.array(won), pairs, 0.0))
    assert z == pytest.approx((lost - won) / max(1, lost + won) ** 0.5)
    low, high = tango_interval(lost, won, pairs)
    assert -1 <= low <= (lost - won) / pairs <= high <= 1 and low < high


@pytest.mark.parametrize(("pairs", "discordance"), GRID)
@pytest.mark.parametrize("allowed", [0.0, 0.02, 0.05])
def test_a_drop_that_is_just_allowed_fails_as_often_as_it_says(pairs: int, discordance: float, allowed: float) -> None:
    lost, won = drawn(pairs, allowed, max(discordance, allowed))
    share = (tango(lost, won, pairs, allowed) > normal_point(1 - ALPHA)).mean()
    assert share < 0.075, "a test with discrete outcomes can be a little above 5 %, as in Tango's own tables"


@pytest.mark.parametrize("discordance", [0.1, 0.15, 0.3])
@pytest.mark.parametrize(("allowed", "effect"), [(0.0, 0.05), (0.02, 0.08), (0.05, 0.05)])
def test_the_count_that_is_asked_for_has_the_power(discordance: float, allowed: float, effect: float) -> None:
    pairs = score_pairs(discordance, allowed, effect, ALPHA)
    lost, won = drawn(pairs, allowed + effect, max(discordance, allowed + effect))
    share = (tango(lost, won, pairs, allowed) > normal_point(1 - ALPHA)).mean()
    assert 0.77 < share < 0.97, "more where nearly all that differs is a loss: the likelihood under H0 then expects less"


def test_ten_points_of_300_samples_are_caught() -> None:
    """A true drop of 10 points at a discordance of .15, alone in a file and beside four gates that nothing happened to."""
    lost, won = drawn(300, 0.10, 0.15, 200)
    assert (tango(lost, won, 300, 0.02) > normal_point(1 - ALPHA)).mean() >= 0.95
    idle = np.stack(drawn(300, 0.0, 0.15, 800)).T.reshape(200, 4, 2)
    files = [[(lost[at], won[at]), *idle[at]] for at in range(200)]
    p = [[binary_drop(*outcomes(*map(int, counts), 300), 0.0, 0.05).p for counts in file] for file in files]
    assert sum(rejected(each)[0] for each in p) >= 190


def test_nothing_changed_is_no_drop_and_no_proof() -> None:
    found = binary_drop(*outcomes(0, 0, 50), 0.02, 0.05)
    assert found.value == 0 and found.p > 0.5 and found.needed(ALPHA) > 50
    graded = mean_drop(np.full(50, 0.5), np.full(50, 0.5), 0.02, 0.05)
    assert graded.value == 0 and graded.p > 0.5 and graded.low < 0 < graded.high


def test_graded_drops_fail_as_often_as_they_say_and_are_found() -> None:
    random = np.random.RandomState(0)
    before = random.randint(4, size=(400, 100)) / 3
    noise = random.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=before.shape) / 3
    null = np.mean([mean_drop(b, np.clip(b + n, 0, 1), 0.0, 0.05).p < ALPHA for b, n in zip(before, noise, strict=True)])
    assert null < 0.09
    worse = np.where(random.rand(*before.shape) < 0.3, np.maximum(before - 1 / 3, 0), before)
    assert np.mean([mean_drop(b, w, 0.0, 0.05).p < ALPHA for b, w in zip(before, worse, strict=True)]) > 0.95


def test_the_bootstrap_of_a_median_fails_as_often_as_it_says_and_finds_a_drop() -> None:
    random = np.random.RandomState(0)

    def median(rows: np.ndarray) -> np.ndarray:
        return np.median(rows[..., 0], axis=-1)

    swapped, worse = [], []
    for _ in range(200):
        ours, theirs = random.exponential(1.5, (2, 100, 1))
        swapped.append(bootstrap_drop(median, ours, theirs, 0.0, 0.1, 0.1).p < ALPHA)
        worse.append(bootstrap_drop(median, ours, ours * 0.6, 0.0, 0.1, 0.1).p < ALPHA)
    assert np.mean(swapped) < 0.09 and np.mean(worse) > 0.95


def test_benjamini_and_hochbergs_own_example() -> None:
    """Their table: of fifteen, the first four fall."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert rejected(p) == [True] * 4 + [False] * 11
    assert rejected(p[::-1]) == [False] * 11 + [True] * 4 and rejected([]) == []
    assert rejected([0.04, 0.045]) == [True, True], "a larger one that falls takes the smaller with it"
