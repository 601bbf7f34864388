"""Decisions: does a gate pass, fail, or can it not be told?

An absolute limit is held against the two ends of a 95 % interval. A drop is held against the null hypothesis that it is
allowed, all such gates of a file together (Benjamini-Hochberg), and passes only where there are samples enough to
have noticed one that is `min_effect` larger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import Any, Literal

import numpy as np

from attacks.errors import BadInput, plain
from harness.curves import Share
from harness.gates.evidence import Evidence, refuse_other_data
from harness.gates.file import GAP, MEDIAN, WORST, Gate, GatesFile
from harness.gates.measured import Measured, measure
from harness.gates.paired import ALPHA, Drop, binary_drop, bootstrap_drop, mean_drop, rejected

Array = np.ndarray[Any, np.dtype[np.float64]]
PASS: Literal["pass"] = "pass"
FAIL: Literal["fail"] = "fail"
INCONCLUSIVE: Literal["inconclusive"] = "inconclusive"
FAILED, UNDECIDED = 3, 4  # exit codes
MOST = 10_000_000  # samples; a proposal of more is none
SEARCHED = ("search", "attack", "judge", "precision")  # keys of a configuration that decide how hard failures are looked for


@dataclass(frozen=True)
class Verdict:
    """What was decided of one gate.

    Attributes:
        value: the measure, or how much it dropped; None where there is no number.
        low, high: its two-sided 95 % interval.
        samples: that it was decided on.
        needed: samples that would decide an inconclusive gate if the number stayed as it is; None where no count would.
    """

    gate: Gate
    verdict: Literal["pass", "fail", "inconclusive"]
    why: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    samples: int = 0
    needed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "why", plain(self.why))  # it may quote a model or a check

    def as_row(self) -> dict[str, Any]:
        """As a run's `gates.json` and `--json` have it."""
        numbers = {"limit": self.gate.limit, "value": self.value, "low": self.low, "high": self.high}
        return {"gate": str(self.gate), **numbers, "verdict": self.verdict, "why": self.why}


def exit_code(file: GatesFile, verdicts: Sequence[Verdict]) -> int:
    """0, 3 where a gate failed, or what the file says of one that is inconclusive."""
    found = {verdict.verdict for verdict in verdicts}
    if FAIL in found:
        return FAILED
    return {"fail": FAILED, "pass": 0, 4: UNDECIDED}[file.inconclusive] if INCONCLUSIVE in found else 0


def decide(gates: Sequence[Gate], run: Evidence, baseline: Evidence | None = None) -> list[Verdict]:
    """A verdict for each gate.

    Raises:
        BadInput: a gate names what the run does not have, needs a baseline and there is none, or the baseline is of
            other data.
    """
    if baseline is not None:
        refuse_other_data(run, baseline)
    absolute = {at: _absolute(measure(gate, run), run) for at, gate in enumerate(gates) if gate.max_drop is None}
    compared = {at: _compared(gate, run, baseline) for at, gate in enumerate(gates) if gate.max_drop is not None}
    tested = {at: pair for at, pair in compared.items() if isinstance(pair, _Pair)}
    level = ALPHA / max(len(tested), 1)  # what a drop that is alone in the file must reach
    fell = dict(zip(tested, rejected([pair.drop.p for pair in tested.values()]), strict=True))
    dropped = {at: _dropped(pair, fell[at], level) if isinstance(pair, _Pair) else pair for at, pair in compared.items()}
    return [verdict for _, verdict in sorted((absolute | dropped).items(), key=lambda each: each[0])]


def _absolute(measured: Measured, run: Evidence) -> Verdict:
    gate, count = measured.gate, len(measured.samples)
    if not count:
        return Verdict(gate, INCONCLUSIVE, "; ".join(measured.doubts))
    value, (low, high) = measured.value(measured.rows, run.limit), measured.interval(run.limit)
    found = Verdict(gate, INCONCLUSIVE, "", value, low, min(high, run.limit) if gate.measure == MEDIAN else high, count)
    if measured.doubts:
        return replace(found, why="; ".join(measured.doubts))
    above, below = low >= gate.limit, high < gate.limit
    if gate.max is not None:
        above, below = high <= gate.limit, low > gate.limit
    if above:
        return replace(found, verdict=PASS, why="the whole interval keeps to the limit")
    if below:
        return replace(found, verdict=FAIL, why="the whole interval lies beyond the limit")
    return replace(found, why=f"the limit lies inside the interval of {count} samples", needed=_enough(measured, found, (low, high)))


def _enough(measured: Measured, found: Verdict, interval: tuple[float, float]) -> int | None:
    """How many samples would move the interval off the limit if the measure stayed as it is."""
    gate, value = measured.gate, found.value
    assert value is not None
    if np.isclose(value, gate.limit):
        return None
    if gate.measure in (MEDIAN, GAP, WORST):  # an interval shrinks as the root of the count
        side = 1 if value < gate.limit else 0
        reach, distance = abs(interval[side] - value), abs(value - gate.limit)
        return _sensible(found.samples * (reach / distance) ** 2) if isfinite(reach) else None
    return _least(lambda count: _off(Share(value, count).interval, gate.limit), found.samples)


def _off(interval: tuple[float, float], limit: float) -> bool:
    return not interval[0] <= limit <= interval[1]


def _least(enough: Callable[[int], bool], start: int) -> int | None:
    """The smallest count that is enough, by doubling and bisection."""
    low, high = start, max(start, 1)
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _sensible(count: float) -> int | None:
    return ceil(count) + 1 if count < MOST else None


@dataclass(frozen=True, eq=False)
class _Pair:
    """A gate on two runs that can be tested."""

    gate: Gate
    samples: int
    drop: Drop


def _compared(gate: Gate, run: Evidence, baseline: Evidence | None) -> _Pair | Verdict:
    """The paired test of a gate, or why there is none."""
    if baseline is None:
        raise BadInput(f"gate '{gate}' is against a baseline: name one with --baseline, a run or what `bless` wrote")
    ours = measure(gate, run)
    try:
        theirs = measure(gate, baseline)
    except BadInput as error:
        return Verdict(gate, INCONCLUSIVE, f"the baseline does not tell: {error}")
    samples, before, after = paired_rows(theirs, ours)
    doubts = [*ours.doubts, *(f"baseline: {doubt}" for doubt in theirs.doubts), *unlike(gate, run, baseline)]
    if len(samples) < len(theirs.samples) and not ours.doubts:
        doubts.append(f"the run has {len(samples)} of the baseline's {len(theirs.samples)} samples")
    if not samples:
        return Verdict(gate, INCONCLUSIVE, "; ".join(doubts))
    if doubts:
        found = paired_drop(ours, before, after, min(run.limit, baseline.limit), gate.limit, gate.min_effect)
        return Verdict(gate, INCONCLUSIVE, "; ".join(doubts), found.value, found.low, found.high, len(samples))
    return _Pair(gate, len(samples), paired_drop(ours, before, after, min(run.limit, baseline.limit), gate.limit, gate.min_effect))


def paired_rows(theirs: Measured, ours: Measured) -> tuple[list[str], Array, Array]:
    """The samples both have, and the rows of each, before and after."""
    before, after = dict(zip(theirs.samples, theirs.rows, strict=True)), dict(zip(ours.samples, ours.rows, strict=True))
    samples = sorted(before.keys() & after.keys())
    return samples, np.array([before[each] for each in samples]), np.array([after[each] for each in samples])


def paired_drop(measured: Measured, before: Array, after: Array, limit: float, allowed: float, effect: float) -> Drop:
    """How much worse a measure became, strengths clipped at the smaller search limit; of a gap, how much it rose."""
    measure = measured.gate.measure
    if measure in (MEDIAN, WORST):
        share = _crossing(np.minimum(before[:, 0], limit), allowed + effect) if measure == MEDIAN else allowed + effect
        return bootstrap_drop(lambda rows: measured.values(rows, limit), before, after, allowed, effect, share)
    sign = -1.0 if measured.gate.lower_is_better else 1.0
    was, now = sign * measured.outcomes(before), sign * measured.outcomes(after)
    test = binary_drop if np.isin([was, now], (0, 1)).all() else mean_drop
    return test(was, now, allowed, effect)


def _crossing(strengths: Array, drop: float) -> float:
    """The share of samples that must fall to the median less a drop, for the median to drop so far; at least one sample."""
    median = float(np.median(strengths))
    return float(max(((strengths > median - drop) & (strengths <= median)).mean(), 1 / len(strengths)))


def unlike(gate: Gate, run: Evidence, baseline: Evidence) -> list[str]:
    """Why two runs' numbers are not of the same kind: an attack or a corruption that is another one."""
    said = []
    if gate.attacks:
        differing = [key for key in SEARCHED if run.config.get(key) != baseline.config.get(key)]
        differing += ["attack code"] if _code(run, "attacks") != _code(baseline, "attacks") and "attack" not in differing else []
        said += [f"the baseline was attacked otherwise, it differs in {', '.join(differing)}"] if differing else []
    if gate.corruption and _code(run, "corruptions").get(gate.corruption) != _code(baseline, "corruptions").get(gate.corruption):
        said.append(f"the baseline was corrupted by other code of {gate.corruption}")
    return said


def _code(evidence: Evidence, kind: str) -> Mapping[str, Any]:
    code: Mapping[str, Any] = evidence.description["identity"].get(kind, {})
    return code


def _dropped(pair: _Pair, fell: bool, level: float) -> Verdict:
    gate, drop = pair.gate, pair.drop
    change = "rise" if gate.lower_is_better else "drop"
    needed = drop.needed(level)
    found = Verdict(gate, INCONCLUSIVE, "", drop.value, drop.low, drop.high, pair.samples)
    if pair.samples < drop.least:
        return replace(found, why=f"{pair.samples} pairs are too few for this measure", needed=max(needed, drop.least))
    if fell:
        return replace(found, verdict=FAIL, why=f"the {change} is larger than allowed (p = {drop.p:.2g})")
    if pair.samples < needed:
        noticed = gate.limit + gate.min_effect
        return replace(found, why=f"too few samples to notice a {change} of {noticed:g}: {pair.samples} of {needed}", needed=needed)
    return replace(found, verdict=PASS, why=f"no {change} beyond what is allowed (p = {drop.p:.2g}), and samples enough to notice one")
