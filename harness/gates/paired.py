"""Paired tests: did a number drop by more than is allowed, from the same samples before and after?

Every test is of H0: drop ≤ allowed, one-sided. The score test is Tango's (Equivalence test and confidence interval for the
difference in proportions for the paired-sample design, Statistics in Medicine 17, 1998; the test for a non-zero null
difference is also Nam's, Biometrics 53, 1997); at 0 it is McNemar's. Yes-or-no outcomes need it: a test that takes its
variance from the sample is far off where few pairs differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from harness.curves import Z
from harness.measures import RESAMPLES, SEED

ALPHA = 0.05  # the share of falsely failed gates that Benjamini-Hochberg keeps to
POWER = 0.80
LEAST = 30  # pairs, below which a mean is not yet normal and a bootstrap says too little
MOST_DRAWN = 2_000_000  # values that resamples hold at a time
STEPS = 40  # of the bisection for an interval's ends
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Drop:
    """What a paired test found.

    Attributes:
        value: the drop, before less after.
        low, high: its two-sided 95 % interval.
        p: of H0: drop ≤ allowed.
        needed: pairs with which a drop of allowed + effect would be found with 80 % power.
        least: pairs below which the test does not speak.
    """

    value: float
    low: float
    high: float
    p: float
    needed: Callable[[float], int]
    least: int = 1


def normal_point(share: float) -> float:
    """The point of the normal distribution below which this share lies."""
    return NormalDist().inv_cdf(share)


def tango(lost: Array, won: Array, pairs: Array | int, shift: Array | float) -> Array:
    """The score statistic of H0: drop = shift, normal under it.

    Args:
        lost: pairs right before and wrong after; any shape.
        won: the other way round.
        pairs: all pairs.
        shift: between -1 and 1.

    Returns:
        z, above 0 where more was lost than `shift` says; infinite where `shift` is impossible.
    """
    lost, won, shift = np.asarray(lost, float), np.asarray(won, float), np.asarray(shift, float)
    b = (2 * pairs - lost + won) * shift - lost - won
    c = -won * shift * (1 - shift)
    q = (np.sqrt(np.maximum(b**2 - 8 * pairs * c, 0.0)) - b) / (4 * pairs)  # P(won) by maximum likelihood under H0
    spread = np.sqrt(np.maximum(pairs * (2 * q + shift * (1 - shift)), 0.0))
    gap = lost - won - pairs * shift
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, gap / spread, np.where(np.isclose(gap, 0.0), 0.0, np.sign(gap) * inf))


def tango_interval(lost: int, won: int, pairs: int) -> tuple[float, float]:
    """The two-sided 95 % interval of the drop that inverts the score test."""
    inside, outside = np.full(2, (lost - won) / pairs), np.array([-1.0, 1.0])
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        within = np.abs(tango(np.array(lost), np.array(won), pairs, middle)) < Z
        inside, outside = np.where(within, middle, inside), np.where(within, outside, middle)
    low, high = (inside + outside) / 2
    return float(low), float(high)


def score_pairs(discordance: float, allowed: float, effect: float, level: float) -> int:
    """Pairs with which Tango's test at a level finds a drop of allowed + effect with 80 % power.

    The variance of one pair's change is discordance - drop², under H0 and under the alternative (as Connor, Biometrics 43,
    1987, has it for McNemar's test); a drop takes a discordance of at least its size.
    """
    drop = allowed + effect
    share = min(max(discordance, drop), 1.0)
    under, beyond = sqrt(max(share - allowed**2, 0.0)), sqrt(max(share - drop**2, 0.0))
    return max(1, ceil(((normal_point(1 - level) * under + normal_point(POWER) * beyond) / effect) ** 2))


def binary_drop(before: Array, after: Array, allowed: float, effect: float) -> Drop:
    """Tango's test on outcomes (N,) that are 0 or 1."""
    pairs = len(before)
    lost, won = int(((before == 1) & (after == 0)).sum()), int(((before == 0) & (after == 1)).sum())
    z = float(tango(np.array(lost), np.array(won), pairs, allowed))
    low, high = tango_interval(lost, won, pairs)
    discordance = (lost + won + 1) / (pairs + 1)  # as if one pair more had differed: none is seldom none
    p = NormalDist().cdf(-z) if np.isfinite(z) else float(z < 0)
    return Drop((lost - won) / pairs, low, high, p, lambda level: score_pairs(discordance, allowed, effect, level))


def mean_drop(before: Array, after: Array, allowed: float, effect: float) -> Drop:
    """The paired t-test on graded outcomes (N,): their mean change is normal from a few dozen pairs on, whatever their spread.

    The variance is taken as if one pair more had changed by 1, so that changes that happen to agree prove nothing.
    """
    from scipy.stats import t

    changes = before - after
    pairs, mean = len(changes), float(changes.mean())
    spread = sqrt((((changes - mean) ** 2).sum() + 1.0) / pairs)
    error = spread / sqrt(pairs)
    half = float(t.ppf(0.975, max(pairs - 1, 1))) * error
    p = float(t.sf((mean - allowed) / error, max(pairs - 1, 1)))
    variance = float(changes.var())

    def needed(level: float) -> int:
        each = _pairs(1.0, effect, level)  # per unit of variance, which is itself said of a count: variance + 1 / count
        return max(LEAST, ceil((each * variance + sqrt((each * variance) ** 2 + 4 * each)) / 2))

    return Drop(mean, mean - half, mean + half, p, needed, LEAST)


def bootstrap_drop(measure: Callable[[Array], Array], before: Array, after: Array, allowed: float, effect: float, share: float) -> Drop:
    """The paired bootstrap of a measure of rows (N, K): samples are drawn whole, the same ones before and after.

    p is the share of draws in which the drop is not beyond what is allowed (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993, chapters 13 and 16).

    Args:
        measure: of each of several resamples (R, N, K), (R,).
        share: of the samples that have to change if the measure drops by allowed + effect. Where none has changed the
            draws do not differ, and what could have been noticed is that share, by the score test.
    """
    pairs, random = len(before), np.random.RandomState(SEED)
    at_once = min(RESAMPLES, max(1, MOST_DRAWN // before.size))
    drops = np.empty(0)
    while len(drops) < RESAMPLES:
        rows = random.randint(pairs, size=(min(at_once, RESAMPLES - len(drops)), pairs))
        drops = np.append(drops, measure(before[rows]) - measure(after[rows]))
    low, high = np.percentile(drops, [2.5, 97.5])
    p = (1 + int((drops <= allowed + 1e-12).sum())) / (1 + RESAMPLES)
    spread = float(drops.std()) * sqrt(pairs)
    value = float((measure(before[None]) - measure(after[None]))[0])

    def needed(level: float) -> int:
        return max(LEAST, _pairs(spread, effect, level), score_pairs(share, 0.0, share, level))

    return Drop(value, float(low), float(high), p, needed, LEAST)


def _pairs(spread: float, effect: float, level: float) -> int:
    """Pairs with which a normal test finds an effect with 80 % power; `spread` is of one pair."""
    return ceil(((normal_point(1 - level) + normal_point(POWER)) * spread / effect) ** 2)


def rejected(p_values: Sequence[float]) -> list[bool]:
    """Which hypotheses fall, by Benjamini & Hochberg (JRSS B 57, 1995) at `ALPHA`."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    below = np.nonzero(p[order] <= ALPHA * np.arange(1, len(p) + 1) / max(len(p), 1))[0]
    falls = np.zeros(len(p), dtype=bool)
    falls[order[: below[-1] + 1 if len(below) else 0]] = True
    return [bool(each) for each in falls]
