"""The summary of a run: clean score, each modality missing or corrupted, robust score of every
scenario, per model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attacks.errors import plain
from attacks.scenario import parse
from harness.analysis import measures
from harness.analysis.class_tables import of_classes
from harness.analysis.curves import (
    CURVED,
    Point,
    Share,
    absences,
    clean_scores,
    complete_scores,
    corruption_curves,
    missing_curves,
    robust_curves,
    robust_score_is,
    statuses,
    uncertified,
)
from harness.analysis.intervals import Estimate
from harness.run.description import Description
from harness.run.directory import RunDirectory
from harness.run.flags import doubted, explained, flag_lines, flagged
from harness.run.set_metrics import CLEAN, SetMetric, in_tables
from harness.run.status import COMPLETE, of_merged, onwards
from harness.run.wholeness import fewer, lacking

CAVEAT = (
    "Robust scores are {} up to strength 1 (the radii as written): upper bounds found by attack, not certificates."
    " Intervals are 95 %: {}."
)
YES_OR_NO = "Clopper-Pearson below 200 samples or below 10 right or wrong ones, Wilson otherwise"
GRADED = "BCa, or, where fewer than 20 samples differ, those of yes-or-no scores, which are wider"
INTERVALS = (
    "Intervals are 95 % over samples: BCa, or exact where outcomes are yes or no. Where too few samples differ,"
    " no interval is given."
)
ROBUST = "robust score, strength 1"
AT_THRESHOLDS = "At a threshold, a sample has failed when its score is below that share of its untouched score."
UP_TO_ZERO = (
    "Under attack, a metric is computed from the answers with the lowest scores that are known. Metrics that fall"
    " further where a score has reached 0, such as decibels, may be worse."
)
BAND = (
    "Two numbers with … between them are a band: the share that provably withstands (linear bounds or enumeration,"
    " docs/certify.md), and the share that withstood every attack. What lies between is not known. Its interval reaches"
    " from the low end of the first to the high end of the second."
)
UNATTACKED = "Nothing was attacked: --search is none, and --attack names no attack."
SWEPT = ("kind", "name", "model", "level", "sample", "present", "score", "status")
SUMMARISED = {
    "samples": ("model", "sample", "score", "present"),
    "ledger": CURVED["ledger"],
    "fronts": CURVED["fronts"],
    "sweep": SWEPT,
}
MEASURED = {
    "samples": ("model", "sample", "score"),
    "ledger": ("model", "scenario", "sample", "strength", "status"),
    "sweep": SWEPT,
}
"""The columns that the summary and the measures read; `SUMMARISED` has all of `MEASURED`."""
MARK = " !"  # behind a number that a check marks as doubtful; the notes give the reason


@dataclass(frozen=True)
class Summary:
    """The contents of the table: a share for each section, condition and model. Pairs (scenario,
    model) in `flagged` are marked.
    """

    models: list[str]
    sections: dict[str, dict[str, dict[str, Share]]]
    notes: list[str]
    flagged: frozenset[tuple[str, str]] = frozenset()
    status: str = COMPLETE

    def cells(self, condition: str, shares: dict[str, Share]) -> list[str]:
        """A row of the table, model by model."""
        marks = {model: MARK if doubted(self.flagged, condition, model) else "" for model in self.models}
        return [f"{shares[model]}{marks[model]}" if model in shares else "-" for model in self.models]


def summarise(directory: RunDirectory) -> Summary:
    """Query a run for its summary."""
    description = directory.describe()
    ledger = directory.ledger(SUMMARISED["ledger"])
    samples, fronts, sweep = (directory.table(name, SUMMARISED[name]) for name in ("samples", "fronts", "sweep"))
    robust = robust_curves(ledger, [1.0], fronts)
    clean = clean_scores(samples)
    untouched = {
        model: points[0].share
        for (name, model), points in robust_curves(ledger, [0.0], fronts).items()
        if not parse(name).missing
    }
    drawn = any(
        share.value != clean[model].value and share.samples == clean[model].samples
        for model, share in untouched.items()
        if model in clean
    )
    missing = missing_curves(sweep)
    modalities = description.modalities
    scenarios = description.identity.scenarios
    singles = [name for name in dict.fromkeys(s for s, _ in robust) if _single(name) and name not in scenarios]
    # also where all of its rows are errors
    there = {str(each) for each in ledger.column("scenario").unique().to_pylist()}
    requested = [s for s in scenarios if s in there]
    sections = {
        "": {"clean": clean, **complete_scores(samples)},
        **_each_missing(missing, modalities, sweep),
        **_corrupted(corruption_curves(sweep)),
        **(
            {
                ROBUST: {
                    **({"untouched": untouched} if drawn else {}),
                    **_withstood(robust, [*singles, *requested], modalities),
                }
            }
            if description.attacked
            else {}
        ),
    }
    sections |= (at_thresholds := _at_thresholds(directory, requested))
    trust = directory.notes.trust()
    errors = sum(statuses(table).get("error", 0) for table in (ledger, sweep))
    models = description.identity.config.model
    status = description.status
    held = {"samples": samples, "sweep": sweep, "ledger": ledger}
    if status == COMPLETE and description.samples and (missing_samples := lacking(description, held)):
        status = of_merged(missing_samples, description.samples, False)
    counts = {
        model: {name: row[model].samples for rows in sections.values() for name, row in rows.items() if model in row}
        for model in models
    }
    description = description.model_copy(update={"status": status})
    graded = description.threshold is not None
    caveat = CAVEAT.format(robust_score_is(graded), GRADED if graded else YES_OR_NO)
    notes = _notes(description, caveat, errors, absences(samples, modalities))
    notes += fewer(description, counts)
    notes += _certificates(description, ledger, robust)
    notes = [*notes, *([AT_THRESHOLDS] if at_thresholds else []), *flag_lines(trust), *explained(trust)]
    return Summary(models, sections, notes, flagged(trust), status)


def _certificates(
    description: Description, ledger: pa.Table, robust: Mapping[tuple[str, str], Sequence[Point]]
) -> list[str]:
    """What a band is, and why some scenarios have none."""
    config = description.identity.config
    if config.certify is None:
        return []
    banded = {panel for panel, points in robust.items() if points[-1].certified is not None}
    sizes = {point.certified.samples for points in robust.values() for point in points if point.certified is not None}
    whole = {point.share.samples for panel in banded for point in robust[panel]}
    notes = [BAND] if banded else []
    if sizes and sizes != whole:
        notes.append(f"{config.certify_samples} samples were certified; the attacked shares are of all.")
    reasons: dict[str, set[str]] = {}
    for scenario, model, reason in uncertified(ledger):
        reasons.setdefault(f"{model} is not certified ({config.certify}), {reason}", set()).add(scenario)
    return [*notes, *(f"{reason}: {', '.join(sorted(each))}." for reason, each in reasons.items())]


def _each_missing(
    curves: dict[tuple[str, str], list[Any]], modalities: Sequence[str], sweep: pa.Table
) -> dict[str, dict[str, dict[str, Share]]]:
    """A row for each modality that goes missing: all but those that the task requires. A row may
    hold errors only.
    """
    swept = {str(name) for name in sweep.column("name").unique().to_pylist()} if curves else set()
    rows = {name: _column(curves, f"fixed({name})") for name in modalities if f"fixed({name})" in swept}
    return {"missing": rows} if rows else {}


def _at_thresholds(directory: RunDirectory, scenarios: Sequence[str]) -> dict[str, dict[str, dict[str, Share]]]:
    """For graded answers with several thresholds, the share that has not failed at each."""
    description = directory.describe()
    thresholds = description.identity.thresholds
    if len(thresholds) < 2 or not description.attacked:
        return {}
    ledger, found = directory.table("ledger", (*CURVED["ledger"], "threshold")), {}
    for threshold in thresholds:
        curves = robust_curves(ledger.filter(pc.equal(ledger.column("threshold"), threshold)), [1.0])
        section = f"not failed at threshold {threshold:g}, strength 1"
        found[section] = {name: _column(curves, name) for name in scenarios}
    return found


def _withstood(
    curves: dict[tuple[str, str], list[Any]], scenarios: list[str], modalities: Sequence[str]
) -> dict[str, dict[str, Share]]:
    """Few modalities first, in the order of the task; for different radii, the smallest first."""

    ranks = {name: rank for rank, name in enumerate(modalities)}

    def place(name: str) -> tuple[int, list[tuple[int, str]], list[tuple[str, float]], str]:
        scenario = parse(name)
        balls = sorted(
            (ranks.get(ball.modality, len(ranks)), ball.modality, ball.norm_name, ball.radius)
            for ball in scenario.attacked
        )
        return len(scenario.names), [ball[:2] for ball in balls], [ball[2:] for ball in balls], name

    return {name: _column(curves, name) for name in sorted(scenarios, key=place)}


def _single(scenario: str) -> bool:
    parsed = parse(scenario)
    return len(parsed.attacked) == 1 and not parsed.missing


def _column(curves: dict[tuple[str, str], list[Any]], panel: str) -> dict[str, Share]:
    """The last point of each model's curve in a panel, with its certified edge if there is one."""
    last = {model: points[-1] for (name, model), points in curves.items() if name == panel}
    return {model: point.band for model, point in last.items()}


def _corrupted(curves: dict[tuple[str, str], list[Any]]) -> dict[str, dict[str, dict[str, Share]]]:
    """For each section, the corruptions with its largest severity."""
    sections: dict[str, dict[str, dict[str, Share]]] = {}
    for (name, model), points in sorted(curves.items()):
        section = sections.setdefault(f"corrupted, severity {points[-1].at:g}", {})
        section.setdefault(name, {})[model] = points[-1].share
    return sections


def _notes(description: Description, caveat: str, errors: int, absent: str) -> list[str]:
    notes = [caveat if description.attacked else UNATTACKED, *filter(None, (description.note, absent))]
    if description.status != COMPLETE:
        notes.append(f"The run is {description.status}: {onwards(description.status)}.")
    if errors:
        notes.append(
            f"{errors} rows are errors. No number includes them. The folder errors/ of the run has the tracebacks."
        )
    return [note[0].upper() + note[1:] for note in notes]


def measures_of(directory: RunDirectory) -> tuple[dict[str, dict[str, Estimate]], list[str]]:
    """One number for each curve and game, by name and model, and notes on them."""
    samples, ledger, sweep = (directory.table(name, columns) for name, columns in MEASURED.items())
    description = directory.describe()
    ledger = ledger if description.attacked else ledger.slice(0, 0)
    found = measures.table(samples, ledger, sweep, description.modalities)
    return found, [INTERVALS, *measures.remarks(found, ledger, sweep)]


def printed_measures(directory: RunDirectory, models: list[str]) -> RenderableType:
    """One number per curve and game, models as columns, with intervals."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("measure")
    for model in models:
        table.add_column(Text(plain(model)))
    found, notes = measures_of(directory)
    for name, values in found.items():
        table.add_row(Text(plain(name)), *(str(values[model]) if model in values else "-" for model in models))
    return Group(Text(), table, Text("\n" + "\n".join(map(plain, notes)), style="dim"))


def printed(summary: Summary) -> RenderableType:
    """The summary as a table for the terminal, models as columns."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("score")
    for model in summary.models:
        table.add_column(Text(plain(model)))
    for section, conditions in summary.sections.items():
        if section:
            table.add_section()
            table.add_row(Text(section, style="bold"))
        for condition, shares in conditions.items():
            table.add_row(
                Text(plain(condition) if not section else f"  {plain(condition)}"), *summary.cells(condition, shares)
            )
    return Group(table, Text("\n" + "\n".join(map(plain, summary.notes)), style="dim"))


def printed_set_metrics(directory: RunDirectory) -> RenderableType:
    """The metrics over the set, a row for each condition and metric, models as columns.

    Under attack at strength 1 and with whole modalities missing; `metrics.json` has more strengths
    and rates, and the numbers of single classes and groups.
    """
    every = directory.notes.metrics()
    found = [each for each in every if _printed(each) and each.metric not in of_classes(every)]
    models = directory.describe().identity.config.model
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("over the set", "metric", *models):
        table.add_column(Text(plain(name)))
    cells = {(_where(each), each.metric, each.model): str(Estimate(each.value, each.low, each.high)) for each in found}
    for where, metric in dict.fromkeys((where, metric) for where, metric, _ in cells):
        values = [Text(cells.get((where, metric, model), "-")) for model in models]
        table.add_row(Text(plain(where)), Text(plain(metric)), *values)
    return Group(Text(), table, Text(f"\n{UP_TO_ZERO}", style="dim"))


def _printed(metric: SetMetric) -> bool:
    return in_tables(metric.kind, metric.level) and not metric.group


def _where(metric: SetMetric) -> str:
    what = {"attacked": "strength", "schedule": "rate", "corruption": "severity"}
    return metric.kind if metric.kind == CLEAN else f"{metric.name}, {what[metric.kind]} {metric.level:g}"
