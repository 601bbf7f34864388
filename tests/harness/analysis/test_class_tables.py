"""Metrics of single classes make a table: rows are classes, columns conditions."""

import pytest

from harness.analysis.class_tables import class_tables
from harness.run.set_metrics import SetMetric


def metric(name: str, value: float, kind: str = "clean", at: str = "", level: float = 0.0, **more: str) -> SetMetric:
    where = {"model": "m", "group": "", **more}
    return SetMetric(**where, kind=kind, name=at, level=level, metric=name, value=value, low=None, high=None, samples=4)


def attacked(name: str, value: float, at: str = "x@linf:1", level: float = 1.0) -> SetMetric:
    return metric(name, value, "attacked", at, level)


MAPS = [
    metric("miou", 0.7),
    metric("pixel_accuracy", 0.9),
    metric("iou wall", 0.8),
    metric("iou open door", 0.6),
    attacked("miou", 0.2),
    attacked("iou wall", 0.2),
]


def test_rows_are_classes_and_the_mean_comes_last() -> None:
    (table,) = class_tables(MAPS)
    assert (table.model, table.metric, table.columns) == ("m", "iou", ["clean", "x@linf:1"])
    assert list(table.rows.items()) == [("wall", [0.8, 0.2]), ("open door", [0.6, None]), ("miou", [0.7, 0.2])]


def test_a_mean_of_the_same_name_comes_last_too() -> None:
    (table,) = class_tables([metric("rmse", 1.0), metric("rmse a", 0.5), metric("rmse b", 1.5)])
    assert list(table.rows) == ["a", "b", "rmse"]


@pytest.mark.parametrize(
    "other",
    [
        attacked("iou wall", 0.1, level=2.0),
        metric("iou wall", 0.1, "schedule", "mcar", 1.0),
        metric("iou wall", 0.1, "corruption", "x@noise", 1.0),
        metric("iou wall", 0.1, group="night"),
    ],
)
def test_other_conditions_and_groups_are_no_column(other: SetMetric) -> None:
    assert class_tables([other, *MAPS, other]) == class_tables(MAPS)


def test_every_model_and_metric_has_a_table_and_small_scenarios_come_first() -> None:
    both = [
        attacked("iou wall", 0.1, "a@linf:1 + x@linf:1"),
        *MAPS,
        metric("recall wall", 0.5),
        metric("recall a", 0.4),
    ]
    other = [metric("iou wall", 0.3, model="n"), metric("iou floor", 0.4, model="n")]
    tables = class_tables([*both, *other])
    assert [(each.model, each.metric) for each in tables] == [("m", "iou"), ("m", "recall"), ("n", "iou")]
    assert tables[0].columns == ["clean", "x@linf:1", "a@linf:1 + x@linf:1"] and tables[2].columns == ["clean"]


def test_answers_without_classes_have_no_table() -> None:
    assert (
        class_tables([metric("accuracy", 0.9), metric("macro_f1", 0.8), metric("rmse", 1.0), metric("rmse a", 1.0)])
        == []
    )
