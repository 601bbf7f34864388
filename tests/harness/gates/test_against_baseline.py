"""Decisions against a baseline: drops, pairs of runs, frozen baselines, `compare`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attacks.errors import BadInput
from harness.gates.baseline import bless, evidence_at, frozen
from harness.gates.compare import compare
from harness.gates.decide import decide
from harness.gates.evidence import Evidence
from harness.gates.file import gate_of
from harness.run.directory import RunDirectory
from tests.harness.gates.deciding import INF, shares, verdict
from tests.rows import BOTH, FINE, IMAGE, Outcomes, evidence, make_run


def test_a_drop_is_tested_and_passes_only_with_power(tmp_path: Path) -> None:
    before = evidence(tmp_path / "a", {"m": Outcomes(shares(90, 300), {IMAGE: [2.0] * 270 + [0.0] * 30})})
    worse = evidence(tmp_path / "b", {"m": Outcomes(shares(90, 300), {IMAGE: [2.0] * 230 + [0.5] * 40 + [0.0] * 30})})
    robust = {"scenario": IMAGE, "max_drop": 0.02}
    found = verdict(worse, before, **robust)
    assert (
        found.verdict == "fail"
        and found.value == pytest.approx(40 / 300)
        and found.low is not None
        and found.low > 0.02
    )
    assert verdict(before, worse, **robust, min_effect=0.06).verdict == "pass", "better is no drop"
    assert verdict(before, before, **robust, min_effect=0.05).verdict == "pass"
    close = verdict(before, before, **robust, min_effect=0.01)
    assert close.verdict == "inconclusive" and close.needed is not None and close.needed > 300
    assert verdict(worse, before, scenario=IMAGE, max_drop=0.2, min_effect=0.1).verdict == "pass"
    median = {"scenario": IMAGE, "measure": "median critical strength", "max_drop": 0.1, "min_effect": 0.5}
    assert verdict(before, before, **median).verdict == "pass"


def test_a_median_that_fell_is_found_and_strengths_are_clipped_at_the_smaller_limit(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    strengths = random.uniform(1, 3, 200)
    before = evidence(tmp_path / "a", {"m": Outcomes(shares(200, 200), {IMAGE: strengths.tolist()})})
    after = evidence(tmp_path / "b", {"m": Outcomes(shares(200, 200), {IMAGE: (strengths - 0.6).tolist()})})
    median = {"scenario": IMAGE, "measure": "median critical strength"}
    found = verdict(after, before, **median, max_drop=0.2)
    assert found.verdict == "fail" and found.value == pytest.approx(0.6)
    clipped = evidence(tmp_path / "c", {"m": Outcomes(shares(200, 200), {IMAGE: [INF] * 200})})
    low = evidence(tmp_path / "d", {"m": Outcomes(shares(200, 200), {IMAGE: [INF] * 200})}, config={"limit": 2.0})
    assert verdict(low, clipped, **median, max_drop=0.2).value == 0, "beyond 2 nothing is known of both"


def test_runs_that_cannot_be_compared(tmp_path: Path) -> None:
    run = {"m": Outcomes(shares(90), {IMAGE: [2.0] * 100})}
    ours = evidence(tmp_path / "a", run)
    for name, changed, said in (
        ("b", {"hashes": {"00007": "other"}}, "sample '00007' has different data"),
        ("c", {"names": [f"x{at}" for at in range(100)]}, "no sample in common"),
    ):
        with pytest.raises(BadInput, match=said):
            verdict(ours, evidence(tmp_path / name, run, **changed), max_drop=0.1)
    other = evidence(tmp_path / "d", {"n": Outcomes(shares(90))})
    assert "baseline cannot decide" in verdict(ours, other, max_drop=0.1).why
    harder = evidence(tmp_path / "e", run, config={"search": "thorough"})
    assert "differs in search" in verdict(ours, harder, scenario=IMAGE, max_drop=0.1).why
    fewer = evidence(tmp_path / "f", {"m": Outcomes(shares(50, 50), {IMAGE: [2.0] * 50})})
    assert "50 of the baseline's 100 samples" in verdict(fewer, ours, max_drop=0.1).why
    assert verdict(ours, fewer, max_drop=0.1, min_effect=0.4).verdict == "pass", (
        "more than the baseline pinned is no harm"
    )


def test_a_frozen_baseline_decides_as_its_run_does(tmp_path: Path) -> None:
    swept = {("mcar", 0.0): shares(95), ("mcar", 1.0): shares(10)}
    flags = {"m": {IMAGE: FINE, BOTH: {"gradient": {"raised": True, "value": 1, "why": "none"}}}}
    models = {"m": Outcomes(shares(90), {IMAGE: [2.0] * 100, BOTH: [1.0] * 100}, swept)}
    directory = make_run(tmp_path / "run", models, trust=flags)
    run = bless(directory, str(tmp_path / "frozen"))
    again = evidence_at(str(tmp_path / "frozen"))
    gates = [
        gate_of(model="m", max_drop=0.05, **keys)
        for keys in ({}, {"scenario": IMAGE}, {"scenario": BOTH}, {"schedule": "mcar", "measure": "area"})
    ]
    assert decide(gates, run, again) == decide(gates, run, run)
    assert decide(gates, run, again)[2].verdict == "inconclusive"
    assert frozen(run) == frozen(Evidence.of_run(directory)), "the same run gives the same bytes"
    with pytest.raises(BadInput, match="exists already"):
        bless(directory, str(tmp_path / "frozen"))
    for content in (b"", b"PAR1", b"gates: []", frozen(run)[:-9]):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(BadInput, match="neither a run nor a baseline"):
            evidence_at(str(tmp_path / "bad"))
    with pytest.raises(BadInput, match="only a complete run"):
        bless(make_run(tmp_path / "half", models, status="stopped"), str(tmp_path / "other"))
    with pytest.raises(BadInput, match="not a run"):
        evidence_at(str(tmp_path / "nowhere"))


def test_compare_shows_each_change_and_its_doubts(tmp_path: Path) -> None:
    swept = {("mcar", 0.5): shares(50), ("image@noise", 3.0): shares(60)}
    first = evidence(tmp_path / "a", {"m": Outcomes(shares(90), {IMAGE: [2.0] * 100}, swept)})
    second = evidence(tmp_path / "b", {"m": Outcomes(shares(80), {IMAGE: [1.0] * 100}, swept)}, trust={"m": {}})
    found = {change.what: change for change in compare(first, second)}
    assert (
        found["clean"].change.value == pytest.approx(-0.1)
        and found["clean"].change.surely < 0
        and not found["clean"].doubt
    )
    assert found["image@linf:0.1, median critical strength"].change.value == pytest.approx(-1.0)
    assert "was not checked" in found[IMAGE].doubt
    assert set(found) == {
        "clean",
        "mcar at 0.5",
        "image@noise at severity 3",
        IMAGE,
        f"{IMAGE}, median critical strength",
    }
    with pytest.raises(BadInput, match="no model is in both"):
        compare(first, evidence(tmp_path / "c", {"n": Outcomes(shares(90))}))


def test_a_run_can_be_its_own_baseline(tmp_path: Path) -> None:
    directory = make_run(tmp_path, {"m": Outcomes(shares(270, 300))})
    run = Evidence.of_run(RunDirectory(directory.url))
    assert verdict(run, evidence_at(directory.url), max_drop=0.02).verdict == "pass"
