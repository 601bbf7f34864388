"""Paired outcomes of yes or no: against the likelihood, at their edges, in their power and their
time.
"""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest

from harness.analysis.intervals import normal_point
from harness.analysis.paired import ALPHA
from harness.analysis.trinomial import FEW, exceeding, pairs_needed, tango, trinomial_interval, trinomial_p


@pytest.mark.parametrize(("lost", "won", "pairs"), [(12, 2, 50), (5, 1, 60), (3, 9, 44), (40, 20, 160)])
def test_the_statistic_is_the_score_at_the_likeliest_outcomes_with_that_drop(lost: int, won: int, pairs: int) -> None:
    """The closed form against a search for the maximum of the likelihood."""

    def statistic(drop: float) -> float:
        def unlikely(q: float) -> float:
            return -(lost * np.log(q + drop) + won * np.log(q) + (pairs - lost - won) * np.log(1 - 2 * q - drop))

        bounds = (max(0.0, -drop) + 1e-9, (1 - drop) / 2 - 1e-9)
        q = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return float((lost - won - pairs * drop) / np.sqrt(pairs * (2 * q + drop - drop**2)))

    for drop in (-0.2, 0.02, 0.1, 0.3):
        assert float(tango(lost, won, pairs, drop)) == pytest.approx(statistic(drop), abs=1e-4)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_at_no_shift_the_score_is_mcnemars(lost: int, won: int, same: int) -> None:
    assert float(tango(lost, won, lost + won + same, 0.0)) == pytest.approx((lost - won) / max(1, lost + won) ** 0.5)


@pytest.mark.parametrize(
    ("pairs", "share", "shift"), [(12, 0.3, 0.1), (20, 0.5, -0.2), (15, 0.2, 0.0), (9, 0.7, 0.7), (30, 1.0, 0.4)]
)
def test_the_chance_of_a_score_is_the_sum_over_all_outcomes(pairs: int, share: float, shift: float) -> None:
    """Term by term, with the trinomial's own coefficients."""
    from math import comb

    for score in (-1.0, 0.3, 1.2):
        total = 0.0
        for lost, won in product(range(pairs + 1), repeat=2):
            if lost + won <= pairs and float(tango(lost, won, pairs, shift)) >= score:
                ways = comb(pairs, lost) * comb(pairs - lost, won)
                total += (
                    ways
                    * ((share + shift) / 2) ** lost
                    * ((share - shift) / 2) ** won
                    * (1 - share) ** (pairs - lost - won)
                )
        assert float(exceeding(np.array([share]), pairs, shift, score)[0]) == pytest.approx(total, abs=1e-6)


def test_where_every_pair_is_lost_it_is_near_the_binomial_test() -> None:
    """Nothing won and every pair differing leaves one chance to know, that of a loss."""
    assert trinomial_p(10, 0, 10, 0.0) == pytest.approx(binomtest(10, 10, 0.5, alternative="greater").pvalue, abs=1e-4)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60))
def test_an_interval_encloses_its_point_turns_with_its_sign_and_agrees_with_the_test(
    lost: int, won: int, same: int
) -> None:
    pairs = lost + won + same
    if not pairs:
        return
    low, high = trinomial_interval(lost, won, pairs)
    assert -1 <= low <= (lost - won) / pairs <= high <= 1 and low < high
    assert trinomial_interval(won, lost, pairs) == (-high, -low)
    if low > -1 + 0.02:
        # the exact p does not rise evenly: farther out it may come back above .025
        assert trinomial_p(lost, won, pairs, low - 0.02) <= 0.03 and trinomial_p(lost, won, pairs, low + 0.02) > 0.024


def test_where_no_pair_differs_much_is_unknown_of_few_and_little_of_many() -> None:
    widths = [np.diff(trinomial_interval(0, 0, pairs))[0] for pairs in (1, 10, 100, 1000)]
    assert widths == sorted(widths, reverse=True) and widths[0] > 1.9 and widths[-1] < 0.01


def test_exact_and_score_meet_where_the_one_takes_over_from_the_other() -> None:
    for pairs, shift in product((200, 1000), (0.0, 0.02, 0.1)):
        exact, score = (trinomial_p(lost, FEW - 40, pairs, shift) for lost in (40, 41))
        assert abs(exact - score) < 0.05


@pytest.mark.parametrize(("allowed", "effect"), [(0.0, 0.05), (0.02, 0.05), (0.03, 0.12), (0.05, 0.05)])
@pytest.mark.parametrize("discordance", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("level", [ALPHA, ALPHA / 5])
def test_the_needed_count_has_the_power(allowed: float, effect: float, discordance: float, level: float) -> None:
    """Drawn outcomes of a true drop, each tested as gates test."""
    share = max(discordance, allowed + effect)
    pairs = pairs_needed(discordance, allowed, effect, level)
    chances = [(share + allowed + effect) / 2, (share - allowed - effect) / 2, 1 - share]
    outcomes, counts = np.unique(np.random.RandomState(0).multinomial(pairs, chances, 400), axis=0, return_counts=True)
    found = [trinomial_p(int(lost), int(won), pairs, allowed) <= level for lost, won, _ in outcomes]
    power = float(counts @ found / counts.sum())
    assert power > 0.80 - 2 * 0.02, "two standard errors of 400 draws"


def test_fifty_gates_take_little_time() -> None:
    trinomial_p(3, 2, 50, 0.0)  # SciPy is loaded
    trinomial_interval.cache_clear()
    started = time.process_time()
    for at in range(50):
        trinomial_interval(8 + at, 5, 300)
        trinomial_p(8 + at, 5, 300, 0.02)
    assert time.process_time() - started < 3, "it took 0.7 when it was measured"


def test_many_pairs_have_tangos_interval() -> None:
    """With half a pair's correction on either side, which vanishes."""
    low, high = trinomial_interval(5_000, 4_000, 100_000)
    z = normal_point(0.975)
    assert float(tango(5_000, 4_000, 100_000, low)) == pytest.approx(z, abs=0.02)
    assert float(tango(5_000, 4_000, 100_000, high)) == pytest.approx(-z, abs=0.02)
