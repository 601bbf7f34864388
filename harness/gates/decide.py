"""Decisions: does a gate pass, does it fail, or is it inconclusive?

An absolute limit is compared with the two ends of a 95 % interval. A drop is the number before
minus the number after. It is tested against the null hypothesis that it is allowed, for all such
gates of a file together (Benjamini-Hochberg). It passes only if the samples are enough to notice a
drop that is `min_effect` larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isfinite
from typing import Any, Literal

import numpy as np

from attacks.errors import BadInput, plain
from harness.analysis.intervals import TOO_FEW, UNKNOWN, Estimate, proportion
from harness.analysis.jackknife import metric_drop
from harness.analysis.paired import ALPHA, MOST, Drop, fewest, least_drop, mean_drop, median_drop, rejected
from harness.gates.evidence import Evidence, refuse_other_data
from harness.gates.file import AREA, GAP, MEDIAN, METRIC, WORST, Gate, GatesFile
from harness.gates.measured import Measured, measure

Array = np.ndarray[Any, np.dtype[np.float64]]
PASS: Literal["pass"] = "pass"
FAIL: Literal["fail"] = "fail"
INCONCLUSIVE: Literal["inconclusive"] = "inconclusive"
FAILED, UNDECIDED = 3, 4  # exit codes
# keys of a configuration that decide how hard failures are looked for
SEARCHED = ("search", "attack", "judge", "draws", "precision")


@dataclass(frozen=True)
class Verdict:
    """The verdict of one gate.

    Attributes:
        value: the measure, or its drop: before minus after, for a gap after minus before, so that
            above 0 is worse; None where there is no number.
        low, high: its two-sided 95 % interval, infinite where it is open; None where there are too
            few samples for one.
        bound: as of an `Estimate`.
        samples: the number of samples behind it.
        needed: the number of samples that would decide an inconclusive gate if the measured number
            stayed the same; None where no number would.
    """

    gate: Gate
    verdict: Literal["pass", "fail", "inconclusive"]
    why: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    samples: int = 0
    needed: int | None = None
    bound: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "why", plain(self.why))  # it may quote a model or a check

    @staticmethod
    def undecided(gate: Gate, why: str, found: Estimate, samples: int) -> Verdict:
        """Inconclusive as long as only the number is known."""
        return Verdict(gate, INCONCLUSIVE, why, found.value, found.low, found.high, samples, bound=found.bound)

    @property
    def result(self) -> str:
        """The number and its interval in words; of a drop with its sign."""
        sign = "+" if self.gate.compares else ""
        return "-" if self.value is None else Estimate(self.value, self.low, self.high, self.bound).text(sign)

    def as_row(self) -> dict[str, Any]:
        """The row for `gates.json` and `--json`; a missing or open end is null."""
        low, high = (end if end is not None and isfinite(end) else None for end in (self.low, self.high))
        value = None if self.bound == UNKNOWN else self.value
        numbers = {"limit": self.gate.limit, "value": value, "low": low, "high": high, "result": self.result}
        return {"gate": str(self.gate), **numbers, "verdict": self.verdict, "why": self.why}


def exit_code(file: GatesFile, verdicts: Sequence[Verdict]) -> int:
    """0; 3 where a gate failed; for an inconclusive gate the code that the file sets."""
    found = {verdict.verdict for verdict in verdicts}
    if FAIL in found:
        return FAILED
    return {"fail": FAILED, "pass": 0, 4: UNDECIDED}[file.inconclusive] if INCONCLUSIVE in found else 0


def decide(gates: Sequence[Gate], run: Evidence, baseline: Evidence | None = None) -> list[Verdict]:
    """A verdict for each gate.

    Raises:
        BadInput: a gate names a part that the run lacks, needs a baseline that is not given, or the
            baseline has other data.
    """
    if baseline is not None:
        refuse_other_data(run, baseline)
    absolute = {at: _absolute(measure(gate, run), run) for at, gate in enumerate(gates) if not gate.compares}
    compared = {at: _compared(gate, run, baseline) for at, gate in enumerate(gates) if gate.compares}
    tested = {at: pair for at, pair in compared.items() if isinstance(pair, _Pair)}
    level = ALPHA / max(len(tested), 1)  # the level for a drop that is alone in the file
    fell = dict(zip(tested, rejected([pair.drop.p for pair in tested.values()]), strict=True))
    dropped = {
        at: _dropped(pair, fell[at], level) if isinstance(pair, _Pair) else pair for at, pair in compared.items()
    }
    return [verdict for _, verdict in sorted((absolute | dropped).items(), key=lambda each: each[0])]


def _absolute(measured: Measured, run: Evidence) -> Verdict:
    gate, count = measured.gate, len(measured.samples)
    if not count:
        return Verdict(gate, INCONCLUSIVE, "; ".join(measured.doubts))
    estimate = measured.estimate(measured.rows, run.limit)
    found = Verdict.undecided(gate, "", estimate, count)
    if measured.doubts:
        return replace(found, why="; ".join(measured.doubts))
    if estimate.low is None or estimate.high is None:
        return replace(found, why=f"{TOO_FEW} that differ, of {count}, for an interval")
    above, below = estimate.low >= gate.limit, estimate.high < gate.limit
    if gate.max is not None:
        above, below = estimate.high <= gate.limit, estimate.low > gate.limit
    if above:
        return replace(found, verdict=PASS, why="the whole interval keeps to the limit")
    if below:
        return replace(found, verdict=FAIL, why="the whole interval lies beyond the limit")
    needed = _enough(measured, estimate, (estimate.low, estimate.high))
    return replace(found, why=f"the limit lies inside the interval of {count} samples", needed=needed)


def _enough(measured: Measured, found: Estimate, interval: tuple[float, float]) -> int | None:
    """How many samples would move the interval off the limit if the measure stayed as it is."""
    gate, value, samples = measured.gate, found.value, len(measured.samples)
    if np.isclose(value, gate.limit):
        return None
    if gate.measure in (MEDIAN, GAP, WORST, AREA, METRIC):  # an interval shrinks as the root of the count
        side = 1 if value < gate.limit else 0
        reach, distance = abs(interval[side] - value), abs(value - gate.limit)
        return _sensible(samples * (reach / distance) ** 2) if isfinite(reach) else None
    return fewest(lambda count: _off(proportion(value, count), gate.limit), samples)


def _off(interval: tuple[float, float], limit: float) -> bool:
    return not interval[0] <= limit <= interval[1]


def _sensible(count: float) -> int | None:
    return ceil(count) + 1 if count < MOST else None


@dataclass(frozen=True, eq=False)
class _Pair:
    """A gate on two runs that can be tested."""

    gate: Gate
    samples: int
    searched: float
    drop: Drop


def _compared(gate: Gate, run: Evidence, baseline: Evidence | None) -> _Pair | Verdict:
    """The paired test of a gate, or why it is not possible."""
    if baseline is None:
        raise BadInput(f"gate '{gate}' needs a baseline: name one with --baseline, a run or a file that `bless` wrote")
    ours = measure(gate, run)
    try:
        theirs = measure(gate, baseline)
    except BadInput as error:
        return Verdict(gate, INCONCLUSIVE, f"the baseline cannot decide: {error}")
    samples, before, after = paired_rows(theirs, ours)
    doubts = [*ours.doubts, *(f"baseline: {doubt}" for doubt in theirs.doubts), *unlike(gate, run, baseline)]
    if len(samples) < len(theirs.samples) and not ours.doubts:
        doubts.append(f"the run has {len(samples)} of the baseline's {len(theirs.samples)} samples")
    if not samples:
        return Verdict(gate, INCONCLUSIVE, "; ".join(doubts))
    drop = paired_drop(ours, before, after, min(run.limit, baseline.limit), gate.limit, gate.min_effect)
    if doubts:
        return Verdict.undecided(gate, "; ".join(doubts), drop.estimate, len(samples))
    return _Pair(gate, len(samples), min(run.limit, baseline.limit), drop)


def paired_rows(theirs: Measured, ours: Measured) -> tuple[list[str], Array, Array]:
    """The samples both have, and the rows of each, before and after."""
    before, after = dict(zip(theirs.samples, theirs.rows, strict=True)), dict(zip(ours.samples, ours.rows, strict=True))
    samples = sorted(before.keys() & after.keys())
    return samples, np.array([before[each] for each in samples]), np.array([after[each] for each in samples])


def paired_drop(measured: Measured, before: Array, after: Array, limit: float, allowed: float, effect: float) -> Drop:
    """How much worse a measure became, with strengths clipped at the smaller search limit; for a
    gap, how much it rose.
    """
    measure = measured.gate.measure
    if measure == MEDIAN:
        return median_drop(before[:, 0], after[:, 0], limit, allowed, effect)
    if measure == WORST:
        return least_drop(before, after, allowed, effect)
    was, now = measured.outcomes(before), measured.outcomes(after)
    better, worse = (now, was) if measured.gate.lower_is_better else (was, now)
    return (metric_drop if measure == METRIC else mean_drop)(better, worse, allowed, effect)


def unlike(gate: Gate, run: Evidence, baseline: Evidence) -> list[str]:
    """Why the numbers of two runs cannot be compared: they used other attacks or corruptions."""
    reasons = []
    ours, theirs = run.description.identity, baseline.description.identity
    if gate.attacks:
        differing = [key for key in SEARCHED if getattr(run.config, key) != getattr(baseline.config, key)]
        differing += ["attack code"] if ours.attacks != theirs.attacks and "attack" not in differing else []
        reasons += [f"the baseline was attacked differently: it differs in {', '.join(differing)}"] if differing else []
    if gate.corruption and ours.corruptions.get(gate.corruption) != theirs.corruptions.get(gate.corruption):
        reasons.append(f"the baseline used other code for the corruption {gate.corruption}")
    return reasons


def _dropped(pair: _Pair, fell: bool, level: float) -> Verdict:
    gate, drop = pair.gate, pair.drop
    change = "rise" if gate.lower_is_better else "drop"
    found = Verdict.undecided(gate, "", drop.estimate, pair.samples)
    if fell:
        return replace(found, verdict=FAIL, why=f"the {change} is larger than allowed (p = {drop.p:.2g})")
    if drop.estimate.high == inf:
        searched = f"the search, which went up to strength {pair.searched:g}"
        return replace(
            found, why=f"the baseline's median may lie beyond {searched}: evaluate both with a larger --limit"
        )
    needed = drop.needed(level)
    if pair.samples < needed:
        noticed = gate.limit + gate.min_effect
        return replace(
            found, why=f"{TOO_FEW} to notice a {change} of {noticed:g}: {pair.samples} of {needed}", needed=needed
        )
    return replace(
        found,
        verdict=PASS,
        why=f"no {change} beyond the limit (p = {drop.p:.2g}), and enough samples to notice one",
    )
