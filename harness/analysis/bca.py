"""BCa: the bootstrap of a measure of means, and the fewest samples that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from harness.analysis.intervals import LEVEL, Array, Interval, normal_point, proportion

Counts = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]
LEAST = 20  # the fewest differing samples with which a bootstrap covers
TELLING = 0.2  # smaller differences, as a share of the largest, do not count
RESAMPLES = 2_000
MANY_VALUES = 5_000  # different values; with more, resamples are nearly normal and take long
MOST_DRAWN = 2_000_000  # the most values of resamples in memory at a time
SEED = 1987  # of the resampling: the same samples give the same interval; not 0, which data may have been drawn with
FAR = 2.5  # standard deviations; beyond, too few resamples lie to be counted
EXACT = 12  # digits of a score; the last bits of a sum make no difference
TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Resampled:
    """A measure of the means of rows, over resampled rows (BCa: Efron, JASA 1987).

    The plain interval is too narrow where few samples differ. So the quantiles are Student's, not
    normal, and the spread counts the most influential sample twice.

    Attributes:
        value: the measure.
        points, ends: points of the normal distribution, and the values of the resamples there.
        bias, acceleration: BCa's.
        freedom, stretch: of Student's distribution, and of the spread.
        changed: samples that differ enough from the median to be informative.
    """

    value: float
    points: Array
    ends: Array
    bias: float
    acceleration: float
    freedom: int
    stretch: float
    changed: int

    def end(self, share: float) -> float:
        """The end that leaves this share of the error below."""
        from scipy.special import stdtrit

        moved = self.bias + float(stdtrit(self.freedom, share)) * self.stretch
        return self._reached(self.bias + moved / max(1 - self.acceleration * moved, TINY))

    def share(self, end: float) -> float:
        """The share of the error that an end leaves below; where it is a null hypothesis, its
        one-sided p.
        """
        from scipy.special import stdtr

        moved = self._point(end) - self.bias
        bent = moved / max(1 + self.acceleration * moved, TINY)
        return float(stdtr(self.freedom, (bent - self.bias) / self.stretch))

    def interval(self, level: float = LEVEL) -> Interval:
        return self.end((1 - level) / 2), self.end((1 + level) / 2)

    def _reached(self, point: float) -> float:
        """The value of the resamples at a point; extrapolated in proportion beyond `FAR`."""
        inside = float(np.clip(point, -FAR, FAR))
        return (
            self.value + (float(np.interp(inside, self.points, self.ends)) - self.value) * point / inside
            if inside
            else self.value
        )

    def _point(self, end: float) -> float:
        """The points at which resamples reach an end."""
        if self.ends[0] <= end <= self.ends[-1]:
            return float(np.interp(end, self.ends, self.points))
        edge = self.ends[0] if end < self.ends[0] else self.ends[-1]
        return float(np.sign(end - self.value) * FAR * (end - self.value) / (edge - self.value))


def resampled(measure: Callable[[Array], Array], rows: Array) -> Resampled | None:
    """A measure over resampled rows (N, K); None where fewer than `LEAST` samples differ.

    Args:
        measure: of means (..., K), (...).
    """
    values, counts = np.unique(np.round(rows, EXACT), axis=0, return_counts=True)
    total = len(rows)
    mean = counts @ values / total
    without = measure((total * mean - values) / max(total - 1, 1))  # the jackknife, sample by sample
    pull = np.round(total * (counts @ without / total - without), EXACT)
    changed = _changed(pull, counts)
    if changed < LEAST:
        return None
    value, squares, points = float(measure(mean)), float(counts @ pull**2), np.linspace(-FAR, FAR, 201)
    acceleration, stretch = float(counts @ pull**3) / (6 * squares**1.5), sqrt(1 + float((pull**2).max()) / squares)
    if len(counts) > MANY_VALUES:
        ends, bias = value + points * sqrt(squares) / total, acceleration
    else:
        drawn = np.sort(_drawn(measure, values, counts))
        ends, bias = np.quantile(drawn, [NormalDist().cdf(point) for point in points]), _bias(drawn, value)
    return Resampled(value, points, ends, bias, acceleration, changed - 1, stretch, changed)


def _bias(drawn: Array, value: float) -> float:
    """The normal quantile of the share of resamples below the value; equal ones count half."""
    below = (np.searchsorted(drawn, value - 1e-12) + np.searchsorted(drawn, value + 1e-12)) / 2 / RESAMPLES
    return normal_point(float(np.clip(below, 0.01, 0.99)))


def _changed(pull: Array, counts: Counts) -> int:
    """How many samples differ from the middle one by a telling part of the largest difference."""
    order = np.argsort(pull)
    middle = pull[order][np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2)]
    apart = np.abs(pull - middle)
    return int(counts[apart > TELLING * apart.max()].sum())


def _drawn(measure: Callable[[Array], Array], values: Array, counts: Counts) -> Array:
    """The measure of resampled means. It needs only the number of times that each different row was
    drawn.
    """
    random, total = np.random.RandomState(SEED), int(counts.sum())
    at_once = min(RESAMPLES, max(1, MOST_DRAWN // len(counts)))
    parts = [min(at_once, RESAMPLES - done) for done in range(0, RESAMPLES, at_once)]
    return np.concatenate([measure(random.multinomial(total, counts / total, part) @ values / total) for part in parts])


def changed_samples(values: Array) -> int:
    """How many values differ from the middle one by a telling part of the largest difference."""
    seen, counts = np.unique(np.round(values, EXACT), return_counts=True)
    return _changed(seen, counts)


def mean_interval(values: Array) -> Interval | None:
    """The interval of the mean of numbers (N,) of any kind, by BCa; None where too few differ."""
    found = resampled(lambda means: means[..., 0], values[:, None])
    return None if found is None else found.interval()


def mean_score_interval(scores: Array) -> Interval:
    """The interval of a mean of graded scores (N,) between 0 and 1: BCa's, or, where too few
    differ, the interval that holds for all scores.
    """
    if np.isin(scores, (0, 1)).all():
        return proportion(float(scores.mean()), len(scores))
    found = mean_interval(scores)
    return (max(0.0, found[0]), min(1.0, found[1])) if found else proportion(float(scores.mean()), len(scores))
