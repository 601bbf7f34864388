"""Gates on metrics over the set: from the command line, with a baseline, and at their border."""

from pathlib import Path
from typing import Any

import pytest

from attacks.errors import BadInput
from harness.gates.baseline import bless, evidence_at
from harness.gates.decide import Verdict, decide
from harness.gates.evidence import Evidence
from harness.gates.file import gate_of
from harness.run.directory import RunDirectory
from tests.commandline import run

FILE = """
import torch
from tests.harness.tasks.problems.linear_maps import Pixelwise, maps
def task(): return maps(500)
class Noisy(Pixelwise):
    def forward(self, inputs, present=None):
        x = inputs["rgb"]
        return super().forward({{**inputs, "rgb": x + {noise} * torch.sin(1e4 * x)}}, present)
def build(task): return Noisy()
"""
EVALUATE = ("evaluate", "--task", "my.py:task", "--model", "my.py:build", "--batch-size", "20", "--no-trust")
ONE = ("--schedule", "fixed(rgb):0,1", "--scenario", "rgb@linf:0.02", "--search", "fast")
OTHER = ("--schedule", "none", "--search", "none")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run `one`, and the run `other` of a model that is worse."""
    folder = tmp_path_factory.mktemp("gated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, noise, options in (("one", 0.0, ONE), ("other", 0.2, OTHER)):
            (folder / "my.py").write_text(FILE.format(noise=noise))
            assert run(patch, *EVALUATE, *options, "--samples", "100", "--out", name) == 0
    return folder


def verdict(evidence: Evidence, baseline: Evidence | None = None, **keys: Any) -> Verdict:
    (found,) = decide([gate_of(model="my.py:build", **keys)], evidence, baseline)
    return found


def test_a_metric_is_gated_under_every_condition(runs: Path) -> None:
    directory = RunDirectory(str(runs / "one"))
    known = {(each.metric, each.name, each.level): each for each in directory.notes.metrics()}
    evidence = Evidence.of_run(directory)
    conditions: dict[tuple[str, float], dict[str, Any]] = {
        ("", 0.0): {},
        ("fixed(rgb)", 1.0): {"schedule": "fixed(rgb)", "rate": 1.0},
    }
    for (name, level), keys in conditions.items():
        metric = known["miou", name, level]
        found = verdict(evidence, metric="miou", min=0.0, **keys)
        assert found.verdict == "pass" and found.value == pytest.approx(metric.value)
        assert (found.low, found.high) == pytest.approx((metric.low, metric.high))
        assert verdict(evidence, metric="miou", min=0.999, **keys).verdict in ("fail", "inconclusive")
    attacked = verdict(evidence, metric="miou", min=0.0, scenario="rgb@linf:0.02", strength=2)
    assert attacked.value == pytest.approx(known["miou", "rgb@linf:0.02", 2.0].value)
    assert "trust" in attacked.why, "the search was not checked"


def test_a_drop_of_a_metric_is_paired(runs: Path, tmp_path: Path) -> None:
    bless(RunDirectory(str(runs / "one")), str(tmp_path / "base.parquet"))
    baseline = evidence_at(str(tmp_path / "base.parquet"))
    now, worse = (Evidence.of_run(RunDirectory(str(runs / name))) for name in ("one", "other"))
    asked: dict[str, Any] = {"metric": "miou", "min_effect": 0.05}
    assert verdict(now, baseline, max_drop=0.0, **asked).verdict == "pass"
    fell = verdict(worse, baseline, max_drop=0.01, **asked)
    assert fell.verdict == "fail" and fell.value is not None and fell.value > 0.05
    rise = verdict(worse, baseline, max_rise=0.0, **asked)
    assert rise.verdict == "pass" and "miou rises by" in str(rise.gate)
    assert rise.value == pytest.approx(-fell.value)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"metric": "miou", "max_drop": 0.1}, "needs min_effect"),
        ({"metric": "miou", "measure": "area", "min": 0.1}, "belong together"),
        ({"measure": "metric", "min": 0.1}, "belong together"),
        ({"max_rise": 0.1}, "max_rise is for metrics"),
        ({"metric": "miou", "schedule": "mcar", "min": 0.1}, "takes nothing"),
    ],
)
def test_gates_that_make_no_sense_are_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        gate_of(model="m", **keys)


def test_an_unknown_metric_or_strength_is_refused(runs: Path) -> None:
    evidence = Evidence.of_run(RunDirectory(str(runs / "one")))
    with pytest.raises(BadInput, match="miou"):
        verdict(evidence, metric="mioU", min=0.1)
    with pytest.raises(BadInput, match=r"at strengths 0.25, 0.5, 1, 2, 4, 8, not at 3"):
        verdict(evidence, metric="miou", scenario="rgb@linf:0.02", strength=3, min=0.1)
