"""Paired yes-or-no outcomes: losses and gains, tested exactly where few pairs differ, and by a
score test beyond.

Every test is of H0: drop ≤ shift, one-sided. The score is Tango's (Equivalence test and confidence
interval for the difference in proportions for the paired-sample design, Statistics in Medicine 17,
1998; the test for a non-zero null difference is also Nam's, Biometrics 53, 1997); at 0 it is
McNemar's. Alone, this test has too many false failures where few pairs differ: up to 8.2 % in place
of 5 %. So up to `FEW` such pairs its distribution is computed, at the share of differing pairs that
is worst for the test (Lloyd, Biometrics 64, 2008; Berger & Boos, JASA 89, 1994: among the shares
that the sample does not rule out).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, inf, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from harness.analysis.intervals import LEVEL, Interval, clopper_pearson, normal_point

FEW = 100  # pairs that differ; beyond, half a pair's correction keeps the score test to its level
RULED_OUT = 1e-6  # of the shares of differing pairs; the share left out is added to p
SHARES = 20  # among which the worst is looked for
REACH = 5  # standard deviations: values beyond have no weight
POWER = 0.80
STEPS = 20  # of a bisection
CLOSE = 1e-5  # of an interval's end
Array = np.ndarray[Any, np.dtype[np.float64]]


def tango(lost: Array | float, won: Array | float, pairs: int, shift: Array | float) -> Array:
    """The score statistic of H0: drop = shift, normal under it.

    Args:
        lost: pairs right before and wrong after; any shape.
        won: the other way round.
        pairs: all pairs.
        shift: between -1 and 1.

    Returns:
        z, above 0 where more was lost than `shift`; infinite where `shift` is impossible.
    """
    lost, won, shift = np.asarray(lost, float), np.asarray(won, float), np.asarray(shift, float)
    b = (2 * pairs - lost + won) * shift - lost - won
    c = -won * shift * (1 - shift)
    q = (np.sqrt(np.maximum(b**2 - 8 * pairs * c, 0.0)) - b) / (4 * pairs)  # P(won) by maximum likelihood under H0
    spread = np.sqrt(np.maximum(pairs * (2 * q + shift * (1 - shift)), 0.0))
    gap = lost - won - pairs * shift
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, gap / spread, np.where(np.abs(gap) < 1e-9, 0.0, np.sign(gap) * inf))


def trinomial_p(lost: int, won: int, pairs: int, shift: float) -> float:
    """One-sided p of H0: drop ≤ shift."""
    if lost + won > FEW:
        z = float(tango(lost - 0.5, won + 0.5, pairs, shift))
        return NormalDist().cdf(-z) if np.isfinite(z) else float(z < 0)
    return _exact_p(lost, won, pairs, shift)


@lru_cache(maxsize=1_000)
def trinomial_interval(lost: int, won: int, pairs: int, level: float = LEVEL) -> Interval:
    """The two-sided interval of the drop that inverts the test."""
    beyond = (1 - level) / 2
    return _low(lost, won, pairs, beyond), -_low(won, lost, pairs, beyond)


def _low(lost: int, won: int, pairs: int, beyond: float) -> float:
    """The largest drop that the test rules out, from where the score test has it."""
    if won == pairs:
        return -1.0

    def apart(shift: float) -> float:
        return trinomial_p(lost, won, pairs, shift) - beyond

    below = above = _bisected(
        lambda shift: float(tango(lost, won, pairs, shift)) > normal_point(1 - beyond), -1.0, (lost - won) / pairs
    )
    step = 0.1 * ((lost - won) / pairs - above) + CLOSE
    while apart(below) > 0 and below > -1:
        below = max(-1.0, below - step)
    while apart(above) <= 0:
        above += step
    if below == -1 and apart(below) > 0:
        return -1.0
    from scipy.optimize import brentq

    return float(brentq(apart, below, above, xtol=CLOSE)) if below < above else below


def _bisected(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The point where a condition that holds at `low` ends."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _exact_p(lost: int, won: int, pairs: int, shift: float) -> float:
    """The chance of a score at least as large, at the worst share of differing pairs."""
    low, high = clopper_pearson(lost + won, pairs, 1 - RULED_OUT)
    shares = np.linspace(max(low, abs(shift)), max(high, abs(shift)), SHARES)
    found = exceeding(shares, pairs, shift, float(tango(lost, won, pairs, shift)) - 1e-9)
    return min(1.0, float(found.max()) + RULED_OUT)


def exceeding(shares: Array, pairs: int, shift: float, score: float) -> Array:
    """The chance of at least this score where the drop is `shift`, for each share (S,) of differing
    pairs, (S,).
    """
    from scipy.special import betainc, gammaln, xlog1py, xlogy

    spread = REACH * np.sqrt(pairs * shares * (1 - shares)) + REACH
    differing = np.arange(
        max(0, int((pairs * shares - spread).min())), min(pairs, ceil((pairs * shares + spread).max())) + 1
    )
    needed = _fewest_lost(differing, pairs, shift, score)
    choices = gammaln(pairs + 1) - gammaln(differing + 1) - gammaln(pairs - differing + 1)
    chances = np.exp(choices + xlogy(differing, shares[:, None]) + xlog1py(pairs - differing, -shares[:, None]))
    lost = np.divide(shares + shift, 2 * shares, out=np.ones_like(shares), where=shares > 0)[:, None]
    # of the binomial
    tails = betainc(np.maximum(needed, 1), np.maximum(differing - needed + 1, 1), np.clip(lost, 0.0, 1.0))
    tails = np.where(needed <= 0, 1.0, np.where(needed > differing, 0.0, tails))
    return np.asarray((chances * tails).sum(1))


def _fewest_lost(differing: Array, pairs: int, shift: float, score: float) -> Array:
    """The smallest number of lost pairs that reaches a score, for each number of differing pairs
    (D,); one more than all pairs if no number reaches it.
    """
    low, high = np.zeros_like(differing), differing + 1
    while (low < high).any():
        middle = (low + high) // 2
        reached = tango(middle, differing - middle, pairs, shift) >= score
        low, high = np.where(reached | (low >= high), low, middle + 1), np.where(reached & (low < high), middle, high)
    return high


def pairs_needed(discordance: float, allowed: float, effect: float, level: float) -> int:
    """Pairs with which the test at a level finds a drop of allowed + effect with 80 % power.

    The variance of one pair's change is discordance - drop², under H0 and under the alternative (as
    Connor, Biometrics 43, 1987, has it for McNemar's test); a drop needs a discordance of at least
    its size. An exact test needs a few more pairs, like a correction for continuity, but no more
    where nearly all differing pairs are lost.
    """
    drop = allowed + effect
    share = min(max(discordance, drop), 1.0)
    under, beyond = sqrt(max(share - allowed**2, 0.0)), sqrt(max(share - drop**2, 0.0))
    normal = normal_point(1 - level) * under + normal_point(POWER) * beyond
    return max(1, ceil(((normal + sqrt(normal**2 + 4 * effect * (1 - drop / share))) / (2 * effect)) ** 2))
