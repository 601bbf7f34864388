"""Decisions on made-up runs: pass, fail and inconclusive, each for its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import BadInput
from harness.gates.decide import Verdict, decide, exit_code
from harness.gates.file import GatesFile, gate_of
from harness.run.schema import SCHEMAS
from tests.harness.gates.deciding import INF, shares, verdict
from tests.rows import BOTH, FINE, IMAGE, LIMIT, Outcomes, evidence, held


def test_an_absolute_limit_is_held_against_the_interval(tmp_path: Path) -> None:
    run = evidence(tmp_path, {"m": Outcomes(shares(80))})  # 0.80 [0.71, 0.87]
    assert [verdict(run, min=limit).verdict for limit in (0.7, 0.75, 0.85, 0.9)] == [
        "pass",
        "inconclusive",
        "inconclusive",
        "fail",
    ]
    assert [verdict(run, max=limit).verdict for limit in (0.7, 0.75, 0.9)] == ["fail", "inconclusive", "pass"]
    found = verdict(run, min=0.75)
    assert found.needed is not None and 200 < found.needed < 300
    more = evidence(tmp_path / "more", {"m": Outcomes(shares(int(0.8 * found.needed) + 1, found.needed))})
    assert verdict(more, min=0.75).verdict == "pass", "the count it proposes decides"
    assert verdict(run, min=0.8).needed is None


def test_worst_case_measures(tmp_path: Path) -> None:
    strengths = [0.5] * 20 + [1.5] * 40 + [INF] * 40
    swept = {
        ("fixed(image)", 1.0): shares(90),
        ("fixed(audio)", 1.0): shares(40),
        ("mcar", 0.0): shares(100),
        ("mcar", 1.0): shares(0),
    }
    models = {
        "m": Outcomes(shares(100), {IMAGE: strengths}, swept),
        "without-image": Outcomes(shares(95), {IMAGE: [INF] * 100}),
    }
    run = evidence(tmp_path, models)
    expected: dict[float, dict[str, Any]] = {
        0.8: {"scenario": IMAGE},
        0.4: {"scenario": "image@linf:0.1 + audio@intact", "strength": 1.5},
        1.5: {"scenario": IMAGE, "measure": "median critical strength"},
        0.5: {"schedule": "mcar", "measure": "area"},
        0.15: {"scenario": IMAGE, "measure": "gap to the oracle"},
    }
    for value, keys in expected.items():
        found = verdict(run, **keys, min=0.1)
        assert found.value == pytest.approx(value) and found.low is not None and found.high is not None
        assert found.low <= found.value <= found.high
    assert verdict(run, measure="worst modality", min=0.3).value == 0.4
    assert verdict(run, measure="worst modality", strength=1, min=0.3).value == 0.8


def test_a_median_beyond_the_search_is_only_bounded(tmp_path: Path) -> None:
    run = evidence(tmp_path, {"m": Outcomes(shares(100), {IMAGE: [INF] * 100})})
    median = {"scenario": IMAGE, "measure": "median critical strength"}
    assert verdict(run, **median, min=LIMIT).verdict == "pass"
    assert "lies beyond the search" in verdict(run, **median, min=LIMIT + 1).why
    assert (
        verdict(run, **median, max=2).verdict == "fail" and verdict(run, **median, max=LIMIT).verdict == "inconclusive"
    )
    assert "went up to strength 8 only" in verdict(run, scenario=IMAGE, strength=9, min=0.5).why


def test_few_samples_prove_nothing_however_well_they_do(tmp_path: Path) -> None:
    run = evidence(tmp_path, {"m": Outcomes(shares(5, 5), {IMAGE: [2.0] * 5})})
    for keys in (
        {"min": 0.9},
        {"scenario": IMAGE, "min": 0.9},
        {"scenario": IMAGE, "measure": "median critical strength", "min": 1},
    ):
        assert verdict(run, **keys).verdict == "inconclusive"
    assert verdict(run, run, max_drop=0.02).verdict == "inconclusive"


DOUBTS: dict[str, tuple[dict[str, Any], str]] = {
    "errors": ({"errors": 3}, "3 samples of m are errors"),
    "stopped": ({"status": "stopped"}, "is stopped"),
    "running": ({"status": "running"}, "is running"),
    "flagged": (
        {"trust": {"m": {IMAGE: {**FINE, "gradient": {"raised": True, "value": 1, "why": "there is none"}}}}},
        "there is none",
    ),
    "unchecked": ({"trust": {"m": {}}}, "was not checked"),
    "checked by nothing": ({"trust": {"m": {IMAGE: {}}}}, "was not checked"),
    "unattacked": ({"config": {"search": "none"}}, "nothing was attacked"),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_what_may_not_be_believed_is_inconclusive_whichever_way_it_points(tmp_path: Path, name: str) -> None:
    changed, why = DOUBTS[name]
    changed = dict(changed)
    outcomes = Outcomes(shares(50), {IMAGE: [2.0] * 50 + [0.0] * 50}, errors=changed.pop("errors", 0))
    run = evidence(tmp_path / "run", {"m": outcomes}, **changed)
    fine = evidence(tmp_path / "fine", {"m": Outcomes(shares(100), {IMAGE: [2.0] * 100})})
    for keys in ({"min": 0.01}, {"min": 0.99}):
        found = verdict(run, scenario=IMAGE, **keys)
        assert found.verdict == "inconclusive" and why in found.why
    for ours, theirs in ((run, fine), (fine, run)):
        found = verdict(ours, theirs, scenario=IMAGE, max_drop=0.1)
        assert found.verdict == "inconclusive" and why in found.why


def test_flags_that_only_inform_and_gates_of_the_average_case_are_decided(tmp_path: Path) -> None:
    flags = {"m": {IMAGE: {"unused": {"raised": True, "value": 1, "why": "it is not used"}}}}
    run = evidence(
        tmp_path, {"m": Outcomes(shares(90), {IMAGE: [2.0] * 100}, {("mcar", 0.5): shares(90)})}, trust=flags
    )
    assert verdict(run, scenario=IMAGE, min=0.5).verdict == "pass"
    untrusted = evidence(
        tmp_path / "2", {"m": Outcomes(shares(90), {IMAGE: [2.0] * 100}, {("mcar", 0.5): shares(90)})}, trust={"m": {}}
    )
    assert (
        verdict(untrusted, schedule="mcar", rate=0.5, min=0.5).verdict == "pass"
        and verdict(untrusted, min=0.5).verdict == "pass"
    )


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"model": "mm", "min": 0.5}, "unknown model 'mm'"),
    "task": ({"task": "toys", "min": 0.5}, "unknown task 'toys'"),
    "scenario": ({"scenario": "image@linf:0.2", "min": 0.5}, "did you mean image@linf:0.1"),
    "schedule": ({"schedule": "exclusive", "rate": 0.5, "min": 0.5}, "unknown schedule 'exclusive'"),
    "no schedule": ({"schedule": "mcr", "rate": 0.5, "min": 0.5}, "did you mean mcar"),
    "modality": ({"schedule": "fixed(smell)", "rate": 1, "min": 0.5}, "unknown modality 'smell'"),
    "rate": ({"schedule": "mcar", "rate": 0.3, "min": 0.5}, "has mcar at 0.5, not at 0.3"),
    "one level": ({"schedule": "mcar", "measure": "area", "min": 0.5}, "a curve needs two levels"),
    "corruption": ({"corruption": "image@noise", "severity": 3, "min": 0.5}, "unknown corruption 'image@noise'"),
    "oracle": ({"scenario": IMAGE, "measure": "gap to the oracle", "max": 0.1}, "--model without-image"),
    "oracle of two": ({"scenario": BOTH, "measure": "gap to the oracle", "max": 0.1}, "an attack on one modality"),
    "baseline": ({"max_drop": 0.1}, "name one with --baseline"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_gate_on_what_the_run_does_not_have_is_refused(tmp_path: Path, name: str) -> None:
    """It could never be decided: a slip must not pass as inconclusive."""
    keys, said = UNKNOWN[name]
    run = evidence(
        tmp_path, {"m": Outcomes(shares(9), {IMAGE: [2.0] * 100, BOTH: [1.0] * 100}, {("mcar", 0.5): shares(9)})}
    )
    with pytest.raises(BadInput) as error:
        decide([gate_of(**{"model": "m", **keys})], run)
    assert said in str(error.value)


def test_the_file_sets_what_inconclusive_means() -> None:
    gate = gate_of(model="m", min=0.5)
    found = {kind: Verdict(gate, kind, "") for kind in ("pass", "fail", "inconclusive")}
    for setting, code in ((4, 4), ("fail", 3), ("pass", 0)):
        file = GatesFile(gates=(gate,), inconclusive=setting)
        assert exit_code(file, [found["pass"], found["inconclusive"]]) == code
        assert exit_code(file, [found["inconclusive"], found["fail"]]) == 3 and exit_code(file, [found["pass"]]) == 0


EVERY_MEASURE: list[dict[str, Any]] = [
    {},
    {"scenario": IMAGE},
    {"scenario": IMAGE, "measure": "median critical strength"},
    {"schedule": "mcar", "rate": 1},
    {"schedule": "mcar", "measure": "area"},
    {"measure": "worst modality"},
    {"measure": "worst modality", "strength": 1},
]


ODD = st.sampled_from([0.0, 1e-300, 0.5, 1.0, 1.0 + 1e-12, LIMIT, INF])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), ODD), max_size=40),
    st.lists(st.tuples(st.floats(0, 1), ODD), max_size=40),
    st.integers(0, 3),
)
def test_no_outcomes_end_in_a_traceback(
    ours: list[tuple[float, float]], theirs: list[tuple[float, float]], errors: int
) -> None:
    """No sample, one, all alike, infinite, other counts on either side, a few errors: a verdict, or
    one sentence.
    """
    keys = [("fixed(image)", 1.0), ("fixed(audio)", 1.0), ("mcar", 0.0), ("mcar", 1.0)]
    both = []
    for rows in (ours, theirs):
        scores, strengths = [score for score, _ in rows], [strength for _, strength in rows]
        both.append(
            held("m", Outcomes(scores, {IMAGE: strengths}, dict.fromkeys(keys, scores), errors=min(errors, len(rows))))
        )
    limits: list[dict[str, Any]] = [{"min": 0.5}, {"max": 0.5}, {"max_drop": 0.0}]
    for gate in (gate_of(model="m", **select, **limit) for select in EVERY_MEASURE for limit in limits):
        try:
            (found,) = decide([gate], both[0], both[1])
        except BadInput:
            continue
        assert found.verdict in ("pass", "fail", "inconclusive") and found.why
        json.dumps(found.as_row(), allow_nan=False)
        if gate.max_drop is None and found.value is not None and found.low is not None and found.high is not None:
            assert found.low <= found.value + 1e-9 and found.value <= found.high + 1e-9


def test_an_error_of_one_condition_doubts_the_gates_of_that_condition_only() -> None:
    """As of a model that cannot do without an input: its other numbers stand."""
    outcomes = Outcomes(
        [1.0] * 40, {IMAGE: [2.0] * 40, BOTH: [2.0] * 40}, {("mcar", 0.5): [1.0] * 40, ("mcar", 0.9): [1.0] * 40}
    )
    run = held("m", outcomes)
    broken = {"ledger": ("scenario", BOTH, "strength"), "sweep": ("level", 0.9, "score")}
    for table, (column, value, number) in broken.items():
        rows = run.tables[table].to_pylist()
        failed = [{**row, "status": "error", number: None} if row[column] == value else row for row in rows]
        run.tables[table] = pa.Table.from_pylist(failed, SCHEMAS[table])  # type: ignore[index]
    asked = [
        gate_of(model="m", min=0.5),
        gate_of(model="m", scenario=IMAGE, min=0.5),
        gate_of(model="m", scenario=BOTH, min=0.5),
        gate_of(model="m", schedule="mcar", rate=0.5, min=0.5),
        gate_of(model="m", schedule="mcar", rate=0.9, min=0.5),
    ]
    found = [(each.verdict, each.why) for each in decide(asked, run)]
    assert [verdict for verdict, _ in found] == ["pass", "pass", "inconclusive", "pass", "inconclusive"]
    assert all("40 samples of m are errors" in why for verdict, why in found if verdict == "inconclusive")


@pytest.mark.parametrize(
    "gate", [{"min": 0.5}, {"scenario": IMAGE, "min": 0.5}, {"schedule": "mcar", "rate": 0.5, "min": 0.5}]
)
def test_a_model_that_does_not_answer_alike_passes_no_gate(gate: dict[str, Any]) -> None:
    run = held("m", Outcomes([1.0] * 40, {IMAGE: [2.0] * 40}, {("mcar", 0.5): [1.0] * 40}))
    run.trust["m"]["every number"] = {"batch": {"raised": True, "value": 1.0, "why": "answers change"}}  # type: ignore[index]
    (found,) = decide([gate_of(model="m", **gate)], run)
    assert found.verdict == "inconclusive" and "every number of m is flagged, batch: answers change" in found.why
