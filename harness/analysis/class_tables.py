"""Metrics of single classes, labels or values over a set, as tables: a row for each class, a column
for each condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.run.set_metrics import ATTACKED, CLEAN, SetMetric


@dataclass(frozen=True)
class ClassTable:
    """One metric of one model, untouched and under attack at strength 1.

    Attributes:
        columns: clean, and the scenarios.
        rows: by class, a value for each column, None where the class has none; the mean over
            classes comes last.
    """

    model: str
    metric: str
    columns: list[str]
    rows: dict[str, list[float | None]]


def class_tables(metrics: Sequence[SetMetric]) -> list[ClassTable]:
    """A table for each model and each metric that several classes have: 'iou wall' and 'iou floor'
    make the table 'iou', with 'miou' below.
    """
    found = [each for each in metrics if _in_table(each)]
    named: dict[tuple[str, str], set[str]] = {}
    for each in found:
        metric, _, name = each.metric.partition(" ")
        named.setdefault((each.model, metric), set()).update([name] if name else [])
    shared = [key for key, names in named.items() if len(names) > 1]
    return [_table(model, metric, [each for each in found if each.model == model]) for model, metric in shared]


def of_classes(metrics: Sequence[SetMetric]) -> set[str]:
    """The metrics of single classes: several share their first word, as 'iou wall' and 'iou
    floor'.
    """
    named: dict[str, set[str]] = {}
    for each in metrics:
        metric, _, name = each.metric.partition(" ")
        named.setdefault(metric, set()).update([each.metric] if name else [])
    return {name for names in named.values() if len(names) > 1 for name in names}


def _in_table(metric: SetMetric) -> bool:
    return not metric.group and (metric.kind == CLEAN or (metric.kind == ATTACKED and metric.level == 1))


def _table(model: str, metric: str, found: Sequence[SetMetric]) -> ClassTable:
    columns = sorted({_column(each) for each in found}, key=lambda name: (name != CLEAN, name.count("+"), name))
    values = {(each.metric, _column(each)): each.value for each in found}
    names = dict.fromkeys(each.metric for each in found)
    classes = [name for name in names if name.startswith(f"{metric} ")]
    means = [name for name in (f"m{metric}", metric) if name in names]
    rows = {name: [values.get((name, column)) for column in columns] for name in (*classes, *means[:1])}
    return ClassTable(model, metric, columns, {name.removeprefix(f"{metric} "): row for name, row in rows.items()})


def _column(metric: SetMetric) -> str:
    return CLEAN if metric.kind == CLEAN else metric.name
