"""What every interval covers and how often every test fails falsely, on a grid: the tables of
docs/statistics.md.

    python benchmarks/coverage.py [--fast]

Yes or no outcomes are summed over all that can happen; graded ones are drawn, 200 times a cell.
`covered` is the share of experiments whose interval holds the true number, among those that have an
interval; cells where fewer than one in three has one are left out.
tests/harness/analysis/test_coverage.py asserts what stands here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf

import numpy as np
from scipy.special import ndtr
from scipy.stats import binom

from benchmarks.drawn_tallies import DRAWN
from harness.analysis.bca import mean_interval, mean_score_interval
from harness.analysis.intervals import LEVEL, Array, Estimate, median_interval, proportion
from harness.analysis.jackknife import ENOUGH, interval, metric_drop, pseudo_values
from harness.analysis.paired import ALPHA, difference, mean_drop, median_drop
from harness.analysis.trinomial import pairs_needed, trinomial_p

SAMPLES = (10, 20, 30, 50, 100, 200, 300, 500, 1000)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
SEEDS = (2, 3, 5, 10)
FEWER = ((10, 50), (3,), 40)  # samples, seeds and draws, for a first look
RARELY = 1 / 3  # of experiments; with fewer intervals a cell says nothing
NO_WEIGHT = 1e-9
MOST_CHANGED = 200  # that differ all; more take long, and BCa has nothing to learn from them
PASSED = "passed wrongly, yes or no"


@dataclass(frozen=True)
class Cell:
    """One place of the grid.

    Attributes:
        what: the interval or the test.
        where: the samples and the distribution.
        share: of experiments: covered, or falsely failed.
        error: its standard error; 0 where it was computed.
    """

    what: str
    where: str
    share: float
    error: float = 0.0


def shares_of_yes(samples: int) -> Iterator[Cell]:
    """Scores of yes or no, computed; between the grid's shares too, where coverage has its dips."""
    counts = np.arange(samples + 1)
    ends = np.array([proportion(count / samples, samples) for count in counts])
    for share in (*SHARES, *np.linspace(0.5 / samples, 0.5, 199)):
        covered = (ends[:, 0] <= share) & (share <= ends[:, 1])
        yield Cell(
            "score, yes or no",
            f"{samples} samples, share {share:.3g}",
            float(binom.pmf(counts, samples, share) @ covered),
        )


GRADED: dict[str, Array] = {  # chances of the scores 0, 1/4, 1/2, 3/4 and 1
    "yes or no": np.array([0.5, 0.0, 0.0, 0.0, 0.5]),
    "even": np.full(5, 0.2),
    "halves": np.array([0.9, 0.0, 0.1, 0.0, 0.0]),
    "nearly all right": np.array([0.0, 0.0, 0.0, 0.05, 0.95]),
    "rarely right": np.array([0.97, 0.0, 0.0, 0.0, 0.03]),
    "skewed": np.array([0.6, 0.25, 0.1, 0.04, 0.01]),
}


def graded_scores(samples: int) -> Iterator[Cell]:
    """Graded scores, by the same interval, computed: the sum's distribution by convolution."""
    sums = np.arange(4 * samples + 1) / 4
    ends = np.array([proportion(total / samples, samples) for total in sums])
    size = 1 << (4 * samples + 1).bit_length()
    for name, chances in GRADED.items():
        mean = float(chances @ np.arange(5)) / 4
        law = np.fft.irfft(np.fft.rfft(chances, size) ** samples, size)[: len(sums)]
        covered = (ends[:, 0] <= mean + 1e-12) & (mean <= ends[:, 1] + 1e-12)
        yield Cell("score, graded", f"{samples} samples, {name}", float(law @ covered))


class Rejections:
    """From how many lost pairs on H0: drop ≤ shift falls, by how many pairs differ: found once
    each, by bisection.
    """

    def __init__(self, samples: int, shift: float, level: float) -> None:
        self.samples, self.shift, self.level = samples, shift, level
        self.found: dict[int, int] = {}

    def fewest(self, differing: int) -> int:
        if differing not in self.found:
            low, high = -1, differing + 1
            while high - low > 1:
                middle = (low + high) // 2
                falls = trinomial_p(middle, differing - middle, self.samples, self.shift) <= self.level
                low, high = (low, middle) if falls else (middle, high)
            self.found[differing] = high
        return self.found[differing]

    def chance(self, share: float, drop: float) -> float:
        """The probability of a failed gate over all outcomes, where this share of pairs differ and
        the true drop is this.
        """
        weights = binom.pmf(np.arange(self.samples + 1), self.samples, share)
        kept = np.nonzero(weights > NO_WEIGHT)[0]
        lost = min(1.0, (share + drop) / (2 * share))
        return float(sum(weights[each] * binom.sf(self.fewest(int(each)) - 1, each, lost) for each in kept))


def differing_shares(drop: float) -> list[float]:
    """Shares of pairs that differ; first the one where all that differ are lost."""
    return sorted({max(each, abs(drop), 1e-3) for each in (0.0, *SHARES)})


def paired_failures(samples: int, allowed: float) -> Iterator[Cell]:
    """How often a drop that is just allowed, or smaller, fails, computed."""
    test = Rejections(samples, allowed, ALPHA)
    for share, true in product(differing_shares(allowed), (allowed, allowed / 2)):
        where = f"{samples} pairs, {allowed:g} allowed, a drop of {true:g}, {share:.3g} differ"
        yield Cell("failed falsely, yes or no", where, test.chance(share, true))


def passes(samples: int, allowed: float, effect: float) -> Iterator[Cell]:
    """How often a gate passes though the drop is larger than allowed by the effect that it says it
    would notice, computed.
    """
    test, drop = Rejections(samples, allowed, ALPHA), allowed + effect
    for share in differing_shares(drop):
        weights = binom.pmf(np.arange(samples + 1), samples, share)
        kept = [int(each) for each in np.nonzero(weights > NO_WEIGHT)[0]]
        enough = [each for each in kept if pairs_needed((each + 1) / (samples + 1), allowed, effect, ALPHA) <= samples]
        lost = min(1.0, (share + drop) / (2 * share))
        passed = sum(weights[each] * binom.cdf(test.fewest(each) - 1, each, lost) for each in enough)
        yield Cell(
            PASSED,
            f"{samples} pairs, {allowed:g} allowed, {effect:g} more to be noticed, {share:.3g} differ",
            float(passed),
        )


def paired_coverage(samples: int, drop: float) -> Iterator[Cell]:
    """What the interval of a drop covers, computed: its ends are where the test falls, on either
    side.
    """
    below, above = (Rejections(samples, each, (1 - LEVEL) / 2) for each in (drop, -drop))
    for share in differing_shares(drop):
        missed = below.chance(share, drop) + above.chance(share, -drop)
        yield Cell("drop, yes or no", f"{samples} pairs, a drop of {drop:g}, {share:.3g} differ", 1 - missed)


Draw = Callable[[np.random.RandomState, int], Array]


def _changed(share: float, size: Draw, lost: float) -> Draw:
    def draw(random: np.random.RandomState, count: int) -> Array:
        signs = np.where(random.rand(count) < lost, 1.0, -1.0)
        return np.asarray((random.rand(count) < share) * signs * size(random, count))

    return draw


SIZES: dict[str, tuple[Draw, float]] = {  # how much a sample changes that does, and the mean
    "by 1/2": (lambda random, count: np.full(count, 0.5), 0.5),
    "evenly": (lambda random, count: random.rand(count), 0.5),
    "mostly little": (lambda random, count: random.beta(0.5, 3, count), 1 / 7),
    "some by 1, most by 0.3": (lambda random, count: np.where(random.rand(count) < 0.15, 1.0, 0.3), 0.405),
}


def graded_drops(samples: int, times: int) -> Iterator[Cell]:
    """Graded drops, drawn: coverage of the interval and false failures of the test."""
    for (name, (size, mean)), share, lost in product(SIZES.items(), (0.1, 0.3, 0.6, 1.0), (0.5, 0.9, 1.0)):
        if 19 <= samples * share <= MOST_CHANGED:
            draw, true = _changed(share, size, lost), share * mean * (2 * lost - 1)
            where = f"{samples} pairs, {share:g} change {name}, {lost:g} of them lose"
            yield from _drawn(where, draw, true, samples, times)


def _drawn(where: str, draw: Draw, true: float, samples: int, times: int) -> Iterator[Cell]:
    random, covered, failed = np.random.RandomState(samples), [], 0
    for _ in range(times):
        found = mean_drop(draw(random, samples), np.zeros(samples), true, 0.1)
        failed += found.p <= ALPHA
        if found.estimate.low is not None and found.estimate.high is not None:
            covered.append(found.estimate.low <= true + 1e-9 and true - 1e-9 <= found.estimate.high)
    if len(covered) > RARELY * times:
        yield _cell("drop, graded", where, float(np.mean(covered)), len(covered))
    yield _cell("failed falsely, graded", where, failed / times, times)


def _cell(what: str, where: str, share: float, times: int) -> Cell:
    return Cell(what, where, share, (max(share * (1 - share), 0.01) / times) ** 0.5)


def few_change(samples: int, times: int) -> Iterator[Cell]:
    """Fewer changes than have an interval: how often an experiment ends in a wrong one."""
    for share in (0.02, 0.05):
        draw, wrong, random = _changed(share, SIZES["evenly"][0], 0.5), 0, np.random.RandomState(samples)
        for _ in range(times):
            found = mean_drop(draw(random, samples), np.zeros(samples), 0.0, 0.1).estimate
            wrong += found.low is not None and found.surely != 0
        yield _cell("drop, graded, few change", f"{samples} pairs, {share:g} change evenly", 1 - wrong / times, times)


def areas(samples: int, times: int) -> Iterator[Cell]:
    """Areas under curves of yes or no at three levels, drawn: samples differ in how hard they
    are.
    """
    for ease in (-1.0, 0.0, 1.0, 2.5):
        covered, random = 0, np.random.RandomState(samples)
        true = float(np.mean(ndtr((ease - np.array([0.0, 1.0, 2.0])) / 2**0.5) * [0.5, 1.0, 0.5]) * 1.5)
        for _ in range(times):
            scores = (random.randn(samples, 1) + random.randn(samples, 3) < ease - np.array([0.0, 1.0, 2.0])).astype(
                float
            )
            low, high = mean_score_interval(scores @ [0.25, 0.5, 0.25])
            covered += low <= true <= high
        yield _cell("area", f"{samples} samples, ease {ease:g}", covered / times, times)


def contributions(samples: int, times: int) -> Iterator[Cell]:
    """Measures that may lie anywhere, as Shapley values do: means of numbers with a heavy side,
    drawn.
    """
    for name, draw, true in (
        ("normal", lambda random: random.randn(samples), 0.0),
        ("halves", lambda random: random.choice([-0.5, 0.0, 0.5, 1.0], p=[0.1, 0.4, 0.3, 0.2], size=samples), 0.3),
        ("exponential", lambda random: random.exponential(size=samples), 1.0),
    ):
        if samples > MOST_CHANGED and name != "halves":
            continue
        random, covered = np.random.RandomState(samples), []
        for _ in range(times):
            if (found := mean_interval(draw(random))) is not None:
                covered.append(found[0] <= true <= found[1])
        if len(covered) > RARELY * times:
            yield _cell("measure", f"{samples} samples, {name}", float(np.mean(covered)), len(covered))


def medians(samples: int, times: int) -> Iterator[Cell]:
    """The median's interval, computed, and the difference of two medians, drawn."""
    low, _ = median_interval(np.arange(samples, dtype=float))
    inside = 1.0 if low == -inf else 1 - 2 * float(binom.cdf(low, samples, 0.5))
    yield Cell("median", f"{samples} samples", inside)
    random, covered, failed = np.random.RandomState(samples), 0, 0
    for _ in range(times):
        base = random.exponential(1.5, samples)
        before, after = base * random.lognormal(0, 0.3, samples), base * random.lognormal(0, 0.3, samples)
        found = median_drop(before, after, 1e9, 0.0, 0.1)
        covered += found.estimate.surely == 0
        failed += found.p <= ALPHA
    yield _cell("drop of a median", f"{samples} pairs", covered / times, times)
    yield _cell("failed falsely, median", f"{samples} pairs", failed / times, times)


def seeds_and_samples(seeds: int, samples: int, times: int) -> Iterator[Cell]:
    """Two ways to train, over seeds and samples, drawn: hard and easy samples, good and bad
    seeds.
    """
    for spread, better in product((0.0, 0.05, 0.2), (0.0, 0.5)):
        deviation = (1.2**2 + 0.5**2 + 0.3**2 + spread**2) ** 0.5
        true = float(ndtr((0.9 + better) / deviation) - ndtr(0.9 / deviation))
        random, found = np.random.RandomState(seeds + samples), list[Estimate]()
        for _ in range(times):
            hard = 1.2 * random.randn(samples) + 0.9
            ours, theirs = (_right(random, hard + more, seeds, spread) for more in (better, 0.0))
            found.append(difference(ours, theirs))
        covered = [each.low <= true <= each.high for each in found if each.low is not None and each.high is not None]
        if len(covered) > RARELY * times:
            where = f"{seeds} seeds, {samples} samples, a spread of {spread:g} between seeds"
            yield _cell("seeds and samples", where, float(np.mean(covered)), len(covered))


def metrics(samples: int, times: int) -> Iterator[Cell]:
    """Metrics over a set by the jackknife, and drops between two draws of the same kind."""
    for name, kind in DRAWN.items() if ENOUGH <= samples <= MOST_CHANGED else ():
        truth = kind.truth(random := np.random.RandomState(samples))
        covered, failed = ({metric: list[bool]() for metric in truth} for _ in range(2))
        for _ in range(times):
            before, after = (pseudo_values(kind.metrics, kind.draw(random, samples)) for _ in range(2))
            for metric in before.keys() & after.keys():
                if (found := interval(before[metric])) is not None:
                    covered[metric].append(found[0] <= truth[metric] <= found[1])
                failed[metric].append(metric_drop(before[metric], after[metric], 0.0, 0.05).p <= ALPHA)
        for metric, each in covered.items():
            where = f"{samples} samples, {metric} of {name}"
            if len(each) > RARELY * times:
                yield _cell("metric over a set", where, float(np.mean(each)), len(each))
                yield _cell("failed falsely, metric", where, float(np.mean(failed[metric])), len(failed[metric]))


def _right(random: np.random.RandomState, ease: Array, seeds: int, spread: float) -> Array:
    noise = spread * random.randn(seeds, 1) + 0.5 * random.randn(1, len(ease)) + 0.3 * random.randn(seeds, len(ease))
    return np.asarray((ease + noise > 0).astype(float))


def grid(samples: Sequence[int] = SAMPLES, seeds: Sequence[int] = SEEDS, times: int = 200) -> Iterator[Cell]:
    """Every cell."""
    for count in samples:
        yield from shares_of_yes(count)
        yield from graded_scores(count)
        for allowed in (0.0, 0.02, 0.05, 0.1):
            yield from paired_failures(count, allowed)
            yield from paired_coverage(count, allowed)
        for allowed, effect in product((0.0, 0.02, 0.05), (0.05, 0.1)):
            yield from passes(count, allowed, effect)
        yield from medians(count, times)
        yield from contributions(count, times)
        yield from areas(count, times)
        yield from few_change(count, times)
        yield from graded_drops(count, times)
        yield from metrics(count, times)
    for number, count in product(seeds, (50, 200, 500)):
        yield from seeds_and_samples(number, count, times)


def worst(cells: list[Cell]) -> Iterator[tuple[str, int, Cell]]:
    """Per interval the cell that covers least, per test that which fails most, and how many cells
    there are.
    """
    for what in dict.fromkeys(cell.what for cell in cells):
        here = [cell for cell in cells if cell.what == what]
        pick = max if what.startswith(("failed", "passed")) else min
        yield what, len(here), pick(here, key=lambda cell: cell.share)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--fast", action="store_true", help="fewer samples, seeds and draws")
    cells = list(grid(*FEWER) if parser.parse_args().fast else grid())
    print("| what | cells | worst | where |\n|---|---|---|---|")
    for what, count, cell in worst(cells):
        print(f"| {what} | {count} | {cell.share:.3f}{f' ± {cell.error:.3f}' if cell.error else ''} | {cell.where} |")


if __name__ == "__main__":
    main()
