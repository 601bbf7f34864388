"""Paired tests and intervals: by how much did a number drop, on the same samples before and after?

A drop is the number before minus the number after: above 0 is worse. A change is the number after
minus the number before. Every test is of H0: drop ≤ allowed, one-sided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, hypot, inf, sqrt
from typing import Any

import numpy as np

from harness.analysis.bca import EXACT, LEAST, Resampled, changed_samples, resampled
from harness.analysis.intervals import (
    AT_MOST,
    LEVEL,
    UNKNOWN,
    Estimate,
    Interval,
    median_interval,
    median_strength,
    normal_point,
    opened,
)
from harness.analysis.trinomial import POWER, pairs_needed, trinomial_interval, trinomial_p

ALPHA = 0.05  # the share of falsely failed gates that Benjamini-Hochberg keeps to
UNLIKELY = 1e-5  # the chance that the test leaves out the worst modality
MOST = 10_000_000  # samples; larger numbers are not proposed
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Drop:
    """The result of a paired test.

    Attributes:
        estimate: the drop, before minus after.
        p: of H0: drop ≤ allowed.
        needed: pairs with which a drop of allowed + effect would be found with 80 % power, at a
            level of the test.
    """

    estimate: Estimate
    p: float
    needed: Callable[[float], int]


def drop_of(before: Array, after: Array) -> Estimate:
    """The mean drop of scores (N,), and its interval.

    Whole gains and losses are counted; graded changes are resampled.
    """
    changes = _changes(before, after)
    if _whole(before, after, changes):
        return Estimate.of(float(changes.mean()), trinomial_interval(*_counted(changes)))
    found = _resampled(changes)
    return Estimate.of(float(changes.mean()), None if found is None else _between(found.interval()))


def mean_drop(before: Array, after: Array, allowed: float, effect: float) -> Drop:
    """The drop of the mean of scores (N,), with its test."""
    changes, found = _changes(before, after), drop_of(before, after)
    if _whole(before, after, changes):
        lost, won, pairs = _counted(changes)
        discordance = (lost + won + 1) / (
            pairs + 1
        )  # counts one more differing sample: an observed 0 is seldom a true 0
        p = trinomial_p(lost, won, pairs, allowed)
        return Drop(found, p, lambda level: pairs_needed(discordance, allowed, effect, level))
    drawn = _resampled(changes)
    if drawn is None:
        return Drop(found, 1.0, lambda level: _unchanged_needed(changes, allowed + effect))
    return Drop(found, drawn.share(allowed), lambda level: _graded_needed(changes, drawn, effect, level))


def _changes(before: Array, after: Array) -> Array:
    """Sorted: the last bits of their sum do not depend on the order of the samples."""
    return np.sort(np.round(before - after, EXACT))


def _whole(*scores: Array) -> bool:
    """Whether all outcomes are whole; those of a gap between two models may be -1."""
    return all(bool(np.isin(each, (-1, 0, 1)).all()) for each in scores)


def _counted(changes: Array) -> tuple[int, int, int]:
    """Lost, won, all."""
    return int((changes > 0).sum()), int((changes < 0).sum()), len(changes)


def _resampled(changes: Array) -> Resampled | None:
    return resampled(lambda means: means[..., 0], changes[:, None])


def _between(interval: Interval) -> Interval:
    """Scores lie between 0 and 1, so no drop is beyond 1."""
    return max(-1.0, interval[0]), min(1.0, interval[1])


def _graded_needed(changes: Array, found: Resampled, effect: float, level: float) -> int:
    """The number of pairs for a test with Student's statistic of few changes and their spread; at
    least the number that an interval needs.
    """
    from scipy.special import stdtrit

    pairs = len(changes)
    each = ((float(stdtrit(LEAST - 1, 1 - level)) + normal_point(POWER)) * float(changes.std()) / effect) ** 2
    # the stretch of more samples is less
    stretched = each / 2 + sqrt(each**2 / 4 + each * (found.stretch**2 - 1) * pairs)
    return ceil(max(stretched, LEAST * pairs / found.changed))


def _unchanged_needed(changes: Array, drop: float) -> int:
    """The number of samples with which such a drop of the mean would make more samples worse than
    observed, with 80 % power.

    A mean cannot drop by more than the share of samples that got worse.
    """
    from scipy.stats import binom

    pairs, worse = len(changes), int((changes > 0).sum())
    enough = fewest(lambda count: binom.cdf(round(worse * count / pairs), count, drop) <= 1 - POWER, pairs)
    differing = max(changed_samples(changes), 1)
    return enough or max(pairs + 1, ceil(pairs * LEAST / differing))


def fewest(enough: Callable[[int], bool], start: int) -> int | None:
    """The smallest count from `start` on that is enough, by doubling and bisection; None beyond
    `MOST`.
    """
    low, high = start, max(start, 1)
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def median_drop(before: Array, after: Array, limit: float, allowed: float, effect: float) -> Drop:
    """The drop of the median of strengths (N,), known up to a limit.

    The interval goes from the order statistics of the one median to those of the other, each with
    half of the error. It assumes nothing about the relation of the two. Where a median may lie
    beyond the limit it is open.
    """
    was, now = (median_strength(each, limit) for each in (before, after))
    ends = [opened(median_interval(each, (1 + LEVEL) / 2), limit) for each in (before, after)]
    bound = UNKNOWN if was.bound and now.bound else was.bound or (AT_MOST if now.bound else "")
    found = Estimate(was.value - now.value, ends[0][0] - ends[1][1], ends[0][1] - ends[1][0], bound)
    p = _median_p(before, after, limit, allowed)
    return Drop(found, p, lambda level: _median_needed(before, after, limit, effect, level))


def _apart(before: Array, after: Array, limit: float) -> Array:
    """The excess of the lower order statistics before over the upper ones after, rank by rank,
    (N,).
    """
    low, high = np.sort(np.minimum(before, limit)), np.sort(after)[::-1]
    return np.asarray(low - np.where(high > limit, inf, high))


def _median_p(before: Array, after: Array, limit: float, allowed: float) -> float:
    """The smallest error at which the order statistics show that the median dropped by more."""
    from scipy.stats import binom

    beyond = np.nonzero(_apart(before, after, limit) > allowed + 1e-12)[0]
    return min(1.0, 2 * float(binom.cdf(beyond[0], len(before), 0.5))) if len(beyond) else 1.0


def _median_needed(before: Array, after: Array, limit: float, effect: float, level: float) -> int:
    """An interval of order statistics shrinks as the root of the count."""
    pairs = len(before)
    z = normal_point(1 - level / 2) + normal_point(POWER)
    least = ceil((z + 2) ** 2)  # so many, for the ranks to be there
    rank = pairs / 2 - z * sqrt(pairs) / 2
    if rank < 1:
        return max(least, pairs + 1)
    low, high = (np.sort(np.minimum(each, limit)) for each in (before, after))
    below, above = int(rank) - 1, pairs - int(rank)
    reach = float(np.median(low) - low[below] + high[above] - np.median(high))
    return max(least, ceil(pairs * (reach / effect) ** 2))


def least_drop(before: Array, after: Array, allowed: float, effect: float) -> Drop:
    """The drop of the least of several mean scores, of rows (N, K).

    It lies between the drop of the column that is smallest before and the drop of the column that
    is smallest after. A paired test decides which columns may be the smallest.
    """
    drops = [mean_drop(was, now, allowed, effect) for was, now in zip(before.T, after.T, strict=True)]
    was, now = ([drops[at] for at in _least_columns(rows)] for rows in (before, after))
    ends = [drop.estimate.low for drop in was], [drop.estimate.high for drop in now]
    lows, highs = ([end for end in each if end is not None] for each in ends)
    interval = (min(lows), max(highs)) if len(lows) == len(was) and len(highs) == len(now) else None
    found = Estimate.of(float(before.mean(0).min() - after.mean(0).min()), interval)
    return Drop(
        found, min(1.0, max(drop.p for drop in was) + UNLIKELY), lambda level: max(drop.needed(level) for drop in was)
    )


def _least_columns(rows: Array) -> list[int]:
    """Which columns may have the least mean."""
    least, level = int(rows.mean(0).argmin()), UNLIKELY / max(rows.shape[1] - 1, 1)
    return [
        at for at, column in enumerate(rows.T) if at == least or mean_drop(column, rows[:, least], 0.0, 1.0).p > level
    ]


def difference(ours: Array, theirs: Array) -> Estimate:
    """The mean of ours minus theirs, paired scores (seeds, N); theirs may have one row for all
    seeds.

    A claim about a way to train has to hold for other seeds and for other samples. So the distances
    of both intervals (Student's over seeds, and the one over samples) from the mean are combined by
    the root of the sum of their squares (MOVER: Donner & Zou, Statistical Methods in Medical
    Research 21, 2012). One seed gives no information about others.
    """
    gaps = np.round(ours - theirs, EXACT)
    seeds, value = len(gaps), float(gaps.mean())
    drawn = _resampled(gaps.mean(0)) if seeds > 1 else None
    if drawn is None:
        return Estimate(value)
    from scipy.special import stdtrit

    half = float(stdtrit(seeds - 1, (1 + LEVEL) / 2)) * float(gaps.mean(1).std(ddof=1)) / sqrt(seeds)
    low, high = drawn.interval()
    return Estimate.of(value, _between((value - hypot(value - low, half), value + hypot(high - value, half))))


def rejected(p_values: Sequence[float]) -> list[bool]:
    """Which hypotheses are rejected, by Benjamini & Hochberg (JRSS B 57, 1995) at `ALPHA`."""
    from scipy.stats import false_discovery_control

    return [bool(p <= ALPHA) for p in false_discovery_control(p_values)] if p_values else []
