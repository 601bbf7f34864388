"""Gates and comparisons of graded answers at several thresholds."""

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from attacks.errors import BadInput
from harness.gates.compare import compare
from harness.gates.evidence import Evidence
from harness.gates.file import gate_of
from harness.gates.measured import measure
from harness.run.directory import RunDirectory
from tests.commandline import run

TASK = """
from tests.harness.tasks.problems.linear_maps import Pixelwise, maps
def task(): return maps(100, thresholds={thresholds})
def build(task): return Pixelwise()
"""
SCENARIO, MODEL = "rgb@linf:0.02", "my.py:build"


def evaluated(folder: Path, patch: pytest.MonkeyPatch, thresholds: tuple[float, ...]) -> Evidence:
    patch.chdir(folder)
    (folder / "my.py").write_text(TASK.format(thresholds=thresholds))
    options = ("--samples", "12", "--scenario", SCENARIO, "--search", "fast", "--schedule", "none", "--no-trust")
    assert run(patch, "evaluate", "--task", "my.py:task", "--model", MODEL, *options, "--out", "run") == 0
    return Evidence.of_run(RunDirectory(str(folder / "run")))


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    with pytest.MonkeyPatch.context() as patch:
        return evaluated(tmp_path_factory.mktemp("graded"), patch, (0.9, 0.5))


def value(evidence: Evidence, **keys: Any) -> float:
    found = measure(gate_of(model=MODEL, scenario=SCENARIO, max_drop=0.0, **keys), evidence)
    return found.estimate(found.rows, evidence.limit).value


@pytest.mark.parametrize("threshold", [0.9, 0.5])
@pytest.mark.parametrize("strength", [0.5, 1.0, 4.0])
def test_a_share_is_that_of_the_ledger(graded: Evidence, threshold: float, strength: float) -> None:
    ledger = graded.tables["ledger"]
    rows = ledger.filter(pc.equal(ledger.column("threshold"), threshold)).column("strength").to_numpy()
    assert value(graded, threshold=threshold, strength=strength) == pytest.approx((rows > strength).mean())


def test_a_median_is_at_its_threshold_and_at_the_first_by_default(graded: Evidence) -> None:
    medians = [value(graded, measure="median critical strength", **keys) for keys in ({}, {"threshold": 0.9})]
    assert medians[0] == medians[1] < value(graded, measure="median critical strength", threshold=0.5)


def test_a_comparison_has_every_threshold(graded: Evidence) -> None:
    names = [each.what for each in compare(graded, graded)]
    for threshold in ("0.9", "0.5"):
        assert f"{SCENARIO}, threshold {threshold}" in names
        assert f"{SCENARIO}, threshold {threshold}, median critical strength" in names


def test_a_threshold_that_the_run_lacks_is_refused(
    graded: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match=r"has no threshold 0\.8: name one of its thresholds, 0\.9, 0\.5"):
        value(graded, threshold=0.8)
    (tmp_path / "my.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "evaluate", "--model", "early", "--samples", "4", "--search", "none", "--out", "run") == 0
    gate = gate_of(model="early", scenario="image@linf:1.6", threshold=0.5, min=0.1)
    with pytest.raises(BadInput, match="leave the key out, its answers are right or wrong"):
        measure(gate, Evidence.of_run(RunDirectory("run")))


@pytest.mark.parametrize("keys", [{}, {"schedule": "mcar", "rate": 0.5}, {"measure": "worst modality"}])
def test_a_threshold_needs_a_scenario(keys: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="threshold is for measures"):
        gate_of(model=MODEL, threshold=0.5, min=0.1, **keys)
