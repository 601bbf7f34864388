"""Measures against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from harness.analysis import measures
from harness.analysis.measures import (
    area,
    contributions,
    degradations,
    drop_rate,
    effective_robustness,
    oracle_gaps,
    relative_robustness,
    remarks,
)
from harness.analysis.paired import drop_of
from harness.run.schema import LEDGER, SAMPLES, SWEEP

NOTHING = pa.Table.from_pylist([], schema=LEDGER)
ATTACKED = pa.Table.from_pylist([dict.fromkeys(LEDGER.names)], schema=LEDGER)


def sweep(rows: list[tuple[str, str, str, float, str, float]]) -> pa.Table:
    """Rows of (model, sample, schedule, level, present, score)."""
    names = ("model", "sample", "name", "level", "present", "score")
    shared = {**dict.fromkeys(SWEEP.names), "status": "ok", "repeat": 0}
    kinds = [{"kind": "corruption" if "@" in row[2] else "schedule"} for row in rows]
    return pa.Table.from_pylist(
        [{**shared, **kind, **dict(zip(names, row, strict=True))} for row, kind in zip(rows, kinds, strict=True)],
        schema=SWEEP,
    )


def falling(model: str, scores: list[float], samples: int = 4) -> list[tuple[str, str, str, float, str, float]]:
    """Two modalities; at level 0 both are present, at 0.5 one, at 1 neither.

    Every second sample has the score, others one more.
    """
    return [
        (model, str(sample), "mcar", level, present, score + 0.1 * (sample % 2))
        for (level, present), score in zip(((0.0, "11"), (0.5, "10"), (1.0, "00")), scores, strict=True)
        for sample in range(samples)
    ]


def test_areas_and_rates_of_a_curve() -> None:
    curve = degradations(sweep(falling("m", [0.85, 0.45, 0.15])))["mcar", "m"]
    assert curve.missing.tolist() == [0.0, 0.5, 1.0] and curve.scores.shape == (4, 3)
    assert (
        area(curve).value
        == relative_robustness(curve).value
        == pytest.approx(0.5 * (0.9 + 0.5) / 2 + 0.5 * (0.5 + 0.2) / 2)
    )
    rate = drop_rate(curve)
    assert rate is not None and rate.value == pytest.approx((1 + 0.9 / 0.5 + 0.9 / 0.2) / 3)


def test_a_score_that_reaches_zero_has_no_drop_rate() -> None:
    samples = pa.table({"model": [], "sample": [], "score": []})
    for scores in ([0.0, 0.0, 0.0], [0.8, 0.4, 0.0]):
        table = sweep(falling("m", scores, samples=1))
        assert drop_rate(degradations(table)["mcar", "m"]) is None
        assert "modality drop rate, mcar" not in measures.table(samples, NOTHING, table, ["a", "b"])


def test_a_missing_measure_has_a_reason() -> None:
    lone = sweep(
        [*falling("m", [0.9, 0.7, 0.2]), ("m", "0", "gap", 0.5, "11", 1.0), ("m", "0", "a@noise", 3.0, "11", 1.0)]
    )
    said = " ".join(remarks({"relative robustness, mcar": None}, ATTACKED, lone))
    assert "No area under gap: one level is not a curve; give two or more, as gap:0,0.5." in said
    assert (
        "compares models under one schedule" in said and "--model late" in said and "--model without-MODALITY" in said
    )
    told = {"effective robustness over late, mcar": None, "gap to the oracle, a@linf:1": None}
    assert "oracle" not in " ".join(remarks({"area under mcar": None}, NOTHING, lone))
    assert remarks(told, ATTACKED, sweep(falling("m", [0.9, 0.7, 0.2]))) == []


def test_effective_robustness_is_what_late_fusion_does_not_explain() -> None:
    curves = degradations(sweep([*falling("m", [0.9, 0.7, 0.2]), *falling("late", [0.8, 0.4, 0.1])]))
    own, late = curves["mcar", "m"], curves["mcar", "late"]
    assert effective_robustness(own, late).value == pytest.approx(0 + (0.7 - (0.4 + 0.1)) + (0.2 - (0.1 + 0.1)))
    assert effective_robustness(late, late).value == pytest.approx(0)


def test_a_corruption_is_no_degradation_by_missing_inputs() -> None:
    rows = [("m", str(s), "image@noise", float(level), "11", 0.5) for level in (0, 3) for s in range(3)]
    assert degradations(sweep(rows)) == {}


def test_a_gap_degrades_over_its_levels_and_plays_no_game() -> None:
    rows = [("m", str(s), "gap(audio)", level, "11", 1 - level) for level in (0.0, 0.5, 1.0) for s in range(3)]
    assert area(degradations(sweep(rows))["gap(audio)", "m"]).value == pytest.approx(0.5)
    game = [("m", str(s), "fixed", 1.0, bits, 0.5) for bits in ("00", "10", "01", "11") for s in range(3)]
    assert contributions(sweep([*game, *rows]), ["image", "audio"]) == contributions(sweep(game), ["image", "audio"])


def test_shapley_values_add_up_and_follow_the_formula() -> None:
    worth = {"00": 0.1, "10": 0.5, "01": 0.2, "11": 0.9}
    rows = [("m", str(s), "fixed", 1.0, bits, value) for bits, value in worth.items() for s in range(5)]
    (values,) = contributions(sweep(rows), ["image", "audio"]).values()
    assert values["image"].value == pytest.approx(0.5 * (0.5 - 0.1) + 0.5 * (0.9 - 0.2))
    assert values["audio"].value == pytest.approx(0.5 * (0.2 - 0.1) + 0.5 * (0.9 - 0.5))
    assert sum(each.value for each in values.values()) == pytest.approx(worth["11"] - worth["00"])


def test_shapley_values_of_three_where_one_does_nothing() -> None:
    worth = {"".join(bits): 0.6 * (bits[0] == "1") + 0.3 * (bits[2] == "1") for bits in product("01", repeat=3)}
    rows = [("m", "s", "fixed", 1.0, bits, value) for bits, value in worth.items()]
    (values,) = contributions(sweep(rows), ["a", "b", "c"]).values()
    assert [values[name].value for name in "abc"] == pytest.approx([0.6, 0.0, 0.3])


def test_a_game_with_a_subset_missing_has_no_values() -> None:
    assert contributions(sweep([("m", "s", "fixed", 1.0, bits, 0.5) for bits in ("00", "10", "11")]), ["a", "b"]) == {}


def test_the_gap_to_the_oracle_is_paired_by_sample() -> None:
    samples = pa.table({"model": ["without-a"] * 4, "sample": list("wxyz"), "score": [1.0, 1.0, 1.0, 0.0]})
    shared = {**dict.fromkeys(LEDGER.names), "status": "ok", "model": "m", "scenario": "a@linf:0.1"}
    strengths = zip("wxyz", (0.5, 2.0, float("inf"), 0.0), strict=True)
    ledger = pa.Table.from_pylist(
        [{**shared, "sample": sample, "strength": strength} for sample, strength in strengths], schema=LEDGER
    )
    ((key, gap),) = oracle_gaps(ledger, samples).items()
    assert key == ("a@linf:0.1", "m") and gap.value == pytest.approx(0.25)
    assert gap.low is not None and gap.high is not None and -1 <= gap.low <= gap.value <= gap.high <= 1


def falling_by_turns(samples: int) -> measures.Degradation:
    """Yes or no at three levels: samples fail one after the other."""
    at = np.arange(samples)[:, None] / samples
    names = tuple(f"{row:04d}" for row in range(samples))
    levels = (0.0, 0.5, 1.0)
    return measures.Degradation(np.array(levels), (at < [0.9, 0.6, 0.3]).astype(float), names, levels)


@pytest.mark.parametrize("samples", [10, 40, 400])
def test_a_measure_has_an_interval_or_too_few_samples(samples: int) -> None:
    curve, late = falling_by_turns(samples), falling_by_turns(samples)
    flat = replace(late, scores=np.ones_like(late.scores))
    rate = drop_rate(curve)
    assert rate is not None
    for each in (effective_robustness(curve, flat), rate):
        assert ("too few samples" in str(each)) == (each.low is None) == (each.high is None) == (samples == 10)
        assert samples == 10 or (each.low is not None and each.high is not None and each.low < each.value < each.high)
    assert "too few samples" in str(effective_robustness(curve, late)), "no sample differs from another"
    whole = area(flat)
    assert whole.low is not None and whole.low < 1.0 == whole.value == whole.high, (
        "a score has an interval however few differ"
    )
    times = relative_robustness(curve)
    assert (times.value, times.low, times.high) == pytest.approx((area(curve).value, area(curve).low, area(curve).high))


def test_a_sample_with_an_error_costs_no_other() -> None:
    """Curves are of the samples that have every level, and paired by their names."""
    rows = [
        (model, f"{sample:02d}", "mcar", level, bits, float((sample + number) % 3 > 0))
        for model in ("late", "m")
        for sample in range(12)
        for number, (level, bits) in enumerate([(0.0, "11"), (0.5, "10"), (0.9, "00")])
        if (model, sample, level) not in {("late", 7, 0.5), ("m", 3, 0.9)}
    ]
    table = sweep(rows)
    curves = degradations(table)
    assert [len(curves["mcar", model].samples) for model in ("late", "m")] == [11, 11]
    found = measures.table(SAMPLES.empty_table(), LEDGER.empty_table(), table, ["a", "b"])
    assert found["effective robustness over late, mcar"]["m"].value == 0.0, "the same answers are equally robust"


def test_the_gap_to_the_oracle_has_the_interval_of_any_two_models_on_the_same_samples() -> None:
    right, withstood = np.arange(60) < 50, np.arange(60) < 38
    names = [f"{at:02d}" for at in range(60)]
    samples = pa.table({"model": ["without-a"] * 60, "sample": names, "score": right.astype(float)})
    shared = {**dict.fromkeys(LEDGER.names), "status": "ok", "model": "m", "scenario": "a@linf:0.1"}
    rows = [{**shared, "sample": name, "strength": 2.0 * held} for name, held in zip(names, withstood, strict=True)]
    ((_, gap),) = oracle_gaps(pa.Table.from_pylist(rows, schema=LEDGER), samples).items()
    assert gap == drop_of(right.astype(float), withstood.astype(float))
