"""Intervals of one number, two-sided at 95 %: of a score, of a measure of means, of a median."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]
Interval = tuple[float, float]
LEVEL = 0.95
TOO_FEW = "too few samples"
MANY = 200  # samples, from which Wilson's interval covers
RARE = 10  # right or wrong samples, below which it does not, however many there are
LEAST = 20  # samples that have to differ for a bootstrap to cover
TELLING = 0.2  # of the largest difference; smaller ones do not count
RESAMPLES = 2_000
MOST_DRAWN = 2_000_000  # values that resamples hold at a time
SEED = 1987  # of the resampling: the same samples give the same interval; not 0, which data may have been drawn with
EXACT = 12  # digits of a score; the last bits of a sum make no difference
FAR = 2.5  # standard deviations, beyond which resamples are too few to be counted
UNKNOWN = "unknown"
AT_LEAST, AT_MOST = "≥", "≤"


@dataclass(frozen=True)
class Estimate:
    """A number of these samples, and its 95 % interval.

    Attributes:
        low, high: infinite where the interval is open; both None where there are too few samples for one.
        bound: `AT_LEAST` or `AT_MOST` where the number is only a bound, as a median beyond the search; `UNKNOWN` where it says
            nothing.
    """

    value: float
    low: float | None = None
    high: float | None = None
    bound: str = ""

    @staticmethod
    def of(value: float, interval: Interval | None, bound: str = "") -> Estimate:
        low, high = interval or (None, None)
        return Estimate(value, low, high, bound)

    @property
    def surely(self) -> int:
        """1 where the whole interval lies above 0, -1 where it lies below, else 0."""
        return 0 if self.low is None or self.high is None else int(self.low > 0) - int(self.high < 0)

    @property
    def turned(self) -> Estimate:
        """With the other sign."""
        ends = None if self.low is None or self.high is None else (-self.high, -self.low)
        return Estimate.of(-self.value, ends, {AT_LEAST: AT_MOST, AT_MOST: AT_LEAST}.get(self.bound, self.bound))

    def times(self, factor: float) -> Estimate:
        """In another unit, `factor` > 0."""
        ends = None if self.low is None or self.high is None else (factor * self.low, factor * self.high)
        return Estimate.of(factor * self.value, ends, self.bound)

    def number(self, sign: str = "") -> str:
        """The number alone, as `0.612` or `≥ 8`; with the sign + where it is asked for."""
        value = round(self.value, 4) + 0.0  # no negative zero
        return f"{self.bound} {value:{sign}g}" if self.bound else f"{value:{sign}.3f}"

    def text(self, sign: str = "") -> str:
        """As `0.612 [0.51, 0.71]`."""
        if self.bound == UNKNOWN:
            return f"{UNKNOWN} (-∞, ∞)"
        if self.low is None or self.high is None:
            return f"{self.number(sign)} ({TOO_FEW})"
        low = "(-∞" if self.low == -inf else f"[{round(self.low, 4) + 0.0:{sign}.2f}"
        high = "∞)" if self.high == inf else f"{round(self.high, 4) + 0.0:{sign}.2f}]"
        return f"{self.number(sign)} {low}, {high}"

    def __str__(self) -> str:
        return self.text()


def proportion(mean: float, samples: int, level: float = LEVEL) -> Interval:
    """The interval of a mean score between 0 and 1: Clopper-Pearson's, or Wilson's of many samples.

    Graded scores vary no more than a yes or no of the same mean; theirs is the interval of a fractional count.
    """
    if samples == 0:
        return 0.0, 1.0
    count = mean * samples
    if samples < MANY or min(count, samples - count) < RARE:
        return clopper_pearson(count, samples, level)
    return wilson(mean, samples, level)


def clopper_pearson(count: float, samples: int, level: float = LEVEL) -> Interval:
    """Clopper & Pearson, Biometrika 1934."""
    from scipy.special import betaincinv

    beyond = (1 - level) / 2
    low = float(betaincinv(count, samples - count + 1, beyond)) if count > 0 else 0.0
    high = float(betaincinv(count + 1, samples - count, 1 - beyond)) if count < samples else 1.0
    return min(low, count / samples), max(high, count / samples)  # the inverse is not exact next to 0 and 1


def wilson(mean: float, samples: int, level: float = LEVEL) -> Interval:
    """Wilson, JASA 1927."""
    z = normal_point((1 + level) / 2)
    centre = (mean + z**2 / (2 * samples)) / (1 + z**2 / samples)
    half = z / (1 + z**2 / samples) * sqrt(mean * (1 - mean) / samples + z**2 / (4 * samples**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def median_interval(values: Array, level: float = LEVEL) -> Interval:
    """The order statistics that enclose the median, whatever the distribution (David & Nagaraja, Order Statistics, 2003).

    Infinite on both sides where there are too few values.
    """
    from scipy.stats import binom

    count = len(values)
    rank = int(binom.ppf((1 - level) / 2, count, 0.5)) if count else 0  # P(fewer than `rank` lie below the median) is small enough
    if rank == 0:
        return -inf, inf
    ordered = np.sort(values)
    return float(ordered[rank - 1]), float(ordered[count - rank])


def median_strength(strengths: Array, limit: float) -> Estimate:
    """The median of strengths (N,), N > 0, that were searched up to a limit; beyond it only that much is known."""
    low, high = opened(median_interval(strengths), limit)
    bound = AT_LEAST if np.sort(strengths)[len(strengths) // 2] >= limit else ""
    return Estimate(float(np.median(np.minimum(strengths, limit))), low, high, bound)


def opened(interval: Interval, limit: float) -> Interval:
    """Of strengths, which are at least 0: open above where it reaches the limit."""
    low, high = interval
    return float(np.clip(low, 0.0, limit)), inf if high >= limit else high


def normal_point(share: float) -> float:
    """The point of the normal distribution below which this share lies."""
    return NormalDist().inv_cdf(share)


@dataclass(frozen=True, eq=False)
class Resampled:
    """A measure of the means of rows, over resampled rows (BCa: Efron, JASA 1987).

    Its quantiles are Student's and not normal ones, and its spread is taken as if the sample that matters most had been
    seen once more: the plain interval is too narrow where few samples differ.

    Attributes:
        value: the measure.
        points, ends: at points of the normal distribution, what the resamples reach there.
        bias, acceleration: BCa's.
        freedom, stretch: of Student's distribution, and of the spread.
        changed: samples that differ so far from the middle one that they tell something.
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
        return self._reached(self.bias + moved / (1 - self.acceleration * moved))

    def share(self, end: float) -> float:
        """The share of the error that an end leaves below; where it is a null hypothesis, its one-sided p."""
        from scipy.special import stdtr

        moved = self._point(end) - self.bias
        return float(stdtr(self.freedom, (moved / (1 + self.acceleration * moved) - self.bias) / self.stretch))

    def interval(self, level: float = LEVEL) -> Interval:
        return self.end((1 - level) / 2), self.end((1 + level) / 2)

    def _reached(self, point: float) -> float:
        """What resamples reach at a point; in proportion beyond `FAR`."""
        inside = float(np.clip(point, -FAR, FAR))
        return self.value + (float(np.interp(inside, self.points, self.ends)) - self.value) * point / inside if inside else self.value

    def _point(self, end: float) -> float:
        """Where resamples reach an end."""
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
    pull = counts @ without / total - without
    changed = _changed(pull, counts)
    if changed < LEAST:
        return None
    value, squares = float(measure(mean)), float(counts @ pull**2)
    drawn = np.sort(_drawn(measure, values, counts))
    points = np.linspace(-FAR, FAR, 201)
    below = (np.searchsorted(drawn, value - 1e-12) + np.searchsorted(drawn, value + 1e-12)) / 2 / RESAMPLES
    return Resampled(
        value, points, np.quantile(drawn, [NormalDist().cdf(point) for point in points]), normal_point(float(np.clip(below, 0.01, 0.99))),
        float(counts @ pull**3) / (6 * squares**1.5), changed - 1, sqrt(1 + float((pull**2).max()) / squares), changed,
    )  # fmt: skip


def _changed(pull: Array, counts: Counts) -> int:
    """How many samples differ from the middle one by a telling part of the largest difference."""
    order = np.argsort(pull)
    middle = pull[order][np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2)]
    apart = np.abs(pull - middle)
    return int(counts[apart > TELLING * apart.max()].sum())


def _drawn(measure: Callable[[Array], Array], values: Array, counts: Counts) -> Array:
    """The measure of resampled means: how often each row that there is was drawn is enough."""
    random, total = np.random.RandomState(SEED), int(counts.sum())
    at_once = min(RESAMPLES, max(1, MOST_DRAWN // len(counts)))
    parts = [min(at_once, RESAMPLES - done) for done in range(0, RESAMPLES, at_once)]
    return np.concatenate([measure(random.multinomial(total, counts / total, part) @ values / total) for part in parts])


def changed_samples(values: Array) -> int:
    """How many values differ from the middle one by a telling part of the largest difference."""
    seen, counts = np.unique(np.round(values, EXACT), return_counts=True)
    return _changed(seen, counts)


def mean_interval(values: Array) -> Interval | None:
    """Of the mean of numbers (N,) of any kind, by BCa; None where too few differ."""
    found = resampled(lambda means: means[..., 0], values[:, None])
    return None if found is None else found.interval()


def mean_score_interval(scores: Array) -> Interval:
    """Of a mean of graded scores (N,) between 0 and 1: BCa's, or where too few differ the one that holds for all scores."""
    if np.isin(scores, (0, 1)).all():
        return proportion(float(scores.mean()), len(scores))
    found = mean_interval(scores)
    return (max(0.0, found[0]), min(1.0, found[1])) if found else proportion(float(scores.mean()), len(scores))
