"""Curves are the ledger's own numbers."""

import pyarrow as pa
import pytest

from harness.analysis.curves import missing_curves, robust_curves
from harness.run.schema import LEDGER, SWEEP


def ledger(*rows: tuple[float | None, str]) -> pa.Table:
    empty = dict.fromkeys(LEDGER.names)
    return pa.Table.from_pylist(
        [
            {**empty, "model": "m", "sample": str(n), "scenario": "a@linf:1", "strength": s, "status": state}
            for n, (s, state) in enumerate(rows)
        ],
        LEDGER,
    )


def test_robust_score_counts_strengths_above_and_no_errors() -> None:
    table = ledger((0.0, "ok"), (0.5, "ok"), (1.0, "ok"), (float("inf"), "ok"), (None, "error"))
    points = robust_curves(table, [0.0, 0.4, 0.5, 1.0, 9.0])["a@linf:1", "m"]
    assert [point.share.value for point in points] == [0.75, 0.75, 0.5, 0.25, 0.25]
    assert {point.share.samples for point in points} == {4}


def test_missing_is_plotted_at_the_fraction_reached() -> None:
    shared = {
        **dict.fromkeys(SWEEP.names),
        "model": "m",
        "kind": "schedule",
        "name": "mcar",
        "level": 0.9,
        "status": "ok",
    }
    rows = [
        {**shared, "sample": sample, "repeat": repeat, "present": present, "score": score}
        for sample, repeat, present, score in [
            ("1", 0, "001", 1.0),
            ("1", 1, "011", 0.0),
            ("2", 0, "111", 1.0),
            ("2", 1, "000", 1.0),
        ]
    ]
    (point,) = missing_curves(pa.Table.from_pylist(rows, SWEEP))["mcar", "m"]
    assert point.at == pytest.approx(0.5)
    assert point.share.value == pytest.approx(0.75)
    assert point.share.samples == 2, "repeats share their sample"


def test_a_gap_stands_at_its_level() -> None:
    shared = {**dict.fromkeys(SWEEP.names), "model": "m", "sample": "1", "present": "11", "status": "ok"}
    shared["kind"] = "schedule"
    rows = [
        {**shared, "name": "gap(audio)", "level": 0.2, "score": 1.0},
        {**shared, "name": "gap(audio)", "level": 0.5, "score": 0.0},
    ]
    assert [point.at for point in missing_curves(pa.Table.from_pylist(rows, SWEEP))["gap(audio)", "m"]] == [0.2, 0.5]
