"""Intervals of one number, two-sided at 95 %: of a score and of a median; and how a number reads
with its interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Interval = tuple[float, float]
LEVEL = 0.95
TOO_FEW = "too few samples"
MANY = 200  # samples, from which Wilson's interval covers
RARE = 10  # right or wrong samples, below which it does not, however many there are
UNKNOWN = "unknown"
AT_LEAST, AT_MOST = "≥", "≤"


@dataclass(frozen=True)
class Estimate:
    """A number of these samples, and its 95 % interval.

    Attributes:
        low, high: infinite where the interval is open; both None where there are too few samples
            for one.
        bound: `AT_LEAST` or `AT_MOST` where the number is only a bound, such as a median beyond the
            search; `UNKNOWN` where it gives no information.
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
        """The estimate with the opposite sign."""
        ends = None if self.low is None or self.high is None else (-self.high, -self.low)
        return Estimate.of(-self.value, ends, {AT_LEAST: AT_MOST, AT_MOST: AT_LEAST}.get(self.bound, self.bound))

    def times(self, factor: float) -> Estimate:
        """The estimate in another unit, `factor` > 0."""
        ends = None if self.low is None or self.high is None else (factor * self.low, factor * self.high)
        return Estimate.of(factor * self.value, ends, self.bound)

    def number(self, sign: str = "") -> str:
        """The number alone, as `0.612` or `≥ 8`; with the sign + on request."""
        return f"{self.bound} {self.value:{sign}z.4g}" if self.bound else f"{self.value:{sign}z.3f}"

    def text(self, sign: str = "") -> str:
        """The number with its interval, as `0.612 [0.51, 0.71]`."""
        if self.bound == UNKNOWN:
            return f"{UNKNOWN} (-∞, ∞)"
        if self.low is None or self.high is None:
            return f"{self.number(sign)} ({TOO_FEW})"
        low = "(-∞" if self.low == -inf else f"[{self.low:{sign}z.2f}"
        high = "∞)" if self.high == inf else f"{self.high:{sign}z.2f}]"
        return f"{self.number(sign)} {low}, {high}"

    def __str__(self) -> str:
        return self.text()


def proportion(mean: float, samples: int, level: float = LEVEL) -> Interval:
    """The interval of a mean score between 0 and 1: Clopper-Pearson's, or Wilson's of many samples.

    Graded scores vary no more than a yes or no of the same mean; theirs is the interval of a
    fractional count.
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
    """The order statistics that enclose the median, whatever the distribution (David & Nagaraja,
    Order Statistics, 2003).

    Infinite on both sides where there are too few values.
    """
    from scipy.stats import binom

    count = len(values)
    # P(fewer than `rank` lie below the median) is small enough
    rank = int(binom.ppf((1 - level) / 2, count, 0.5)) if count else 0
    if rank == 0:
        return -inf, inf
    ordered = np.sort(values)
    return float(ordered[rank - 1]), float(ordered[count - rank])


def median_strength(strengths: Array, limit: float) -> Estimate:
    """The median of strengths (N,), N > 0, that were searched up to a limit; beyond it only that
    much is known.
    """
    low, high = opened(median_interval(strengths), limit)
    bound = AT_LEAST if np.sort(strengths)[len(strengths) // 2] > limit else ""
    return Estimate(float(np.median(np.minimum(strengths, limit))), low, high, bound)


def opened(interval: Interval, limit: float) -> Interval:
    """The interval of strengths, which are at least 0: open above where it lies beyond the
    limit.
    """
    low, high = interval
    return float(np.clip(low, 0.0, limit)), inf if high > limit else high


def normal_point(share: float) -> float:
    """The point of the normal distribution below which this share lies."""
    return NormalDist().inv_cdf(share)
