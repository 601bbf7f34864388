"""`compare`: the changes between two runs, paired by sample, with intervals; no limits and no
verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attacks.errors import BadInput, plain
from attacks.scenario import parse
from harness.analysis.intervals import Estimate
from harness.gates.decide import paired_drop, paired_rows, unlike
from harness.gates.evidence import Evidence, refuse_other_data
from harness.gates.file import MEDIAN, Gate, gate_of
from harness.gates.measured import measure
from harness.run.schema import CORRUPTION

NOTE = (
    "A change is B minus A over the samples of both, with a 95 % interval: exact or Tango's for yes or no, BCa for"
    " graded scores, order statistics for medians."
)


@dataclass(frozen=True)
class Change:
    """The change of one number, with 95 % intervals: in A, in B, and B minus A."""

    model: str
    what: str
    samples: int
    before: Estimate
    after: Estimate
    change: Estimate
    doubt: str = ""


def compare(first: Evidence, second: Evidence) -> list[Change]:
    """Every number that both runs have: clean and swept scores, robust scores at strength 1, median
    critical strengths; at each threshold where there are several.

    Raises:
        BadInput: the runs have no sample or no model in common, or are of other data.
    """
    refuse_other_data(second, first)
    models = [model for model in first.models if model in second.models]
    if not models:
        raise BadInput(
            f"{first.where} has {', '.join(first.models)}, {second.where} {', '.join(second.models)}: no model is in"
            " both"
        )
    gates = [gate for model in models for gate in _gates(model, first, second)]
    return [change for change in (_change(gate, first, second) for gate in gates) if change is not None]


def _gates(model: str, first: Evidence, second: Evidence) -> Iterator[Gate]:
    """The numbers that both runs have, written as gates that every drop passes."""
    allowed = {"model": model, "max_drop": 0.0}
    yield gate_of(**allowed)
    for name, levels in first.levels.items():
        both = [level for level in levels if level in second.levels.get(name, [])]
        for level in both:
            if first.kinds[name] == CORRUPTION:
                yield gate_of(**allowed, corruption=name, severity=int(level))
            elif levels != [0.0]:  # else nothing is ever missing: the clean score once more
                yield gate_of(**allowed, schedule=name, rate=level)
    if first.attacked and second.attacked:
        for scenario in first.scenarios:
            if scenario in second.scenarios and parse(scenario).attacked:
                yield gate_of(**allowed, scenario=scenario)
                yield from _at_thresholds({**allowed, "scenario": scenario}, first, second)


def _at_thresholds(keys: dict[str, Any], first: Evidence, second: Evidence) -> Iterator[Gate]:
    """The median of a scenario; where both have several thresholds, that and the share that has not
    failed at each.
    """
    both = [each for each in first.thresholds if each in second.thresholds]
    if len(both) < 2:
        yield gate_of(**keys, measure=MEDIAN)
        return
    for threshold in both:
        yield gate_of(**keys, threshold=threshold)
        yield gate_of(**keys, threshold=threshold, measure=MEDIAN)


def _change(gate: Gate, first: Evidence, second: Evidence) -> Change | None:
    theirs, ours = measure(gate, first), measure(gate, second)
    samples, before, after = paired_rows(theirs, ours)
    if not samples:
        return None
    limit = min(first.limit, second.limit)
    drop = paired_drop(ours, before, after, limit, 0.0, gate.min_effect)
    doubts = [
        *(f"A: {doubt}" for doubt in theirs.doubts),
        *(f"B: {doubt}" for doubt in ours.doubts),
        *unlike(gate, second, first),
    ]
    threshold = "" if gate.threshold is None else f", threshold {gate.threshold:g}"
    what = f"{gate.selection or 'clean'}{threshold}{', ' + MEDIAN if gate.measure == MEDIAN else ''}"
    both = theirs.estimate(before, limit), ours.estimate(after, limit)
    return Change(gate.model, what, len(samples), *both, drop.estimate.turned, "; ".join(doubts))


def printed(changes: list[Change]) -> RenderableType:
    """The changes as a table; a change in doubt has its reason."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("model", "number", "samples", "A", "B", "change", "doubt"):
        table.add_column(column)
    for change in changes:
        cells = (
            change.what,
            str(change.samples),
            change.before.number(),
            change.after.number(),
            change.change.text("+"),
            change.doubt,
        )
        table.add_row(*(Text(plain(each)) for each in (change.model, *cells)))
    return Group(table, Text(f"\n{NOTE}", style="dim"))
