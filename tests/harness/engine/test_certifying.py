"""Certificates in a run: columns, the band, gates, `verify`, and the alarm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pytest
import torch
from torch import Tensor, nn

import harness
from attacks.certify import Certified
from attacks.errors import BadInput
from harness.engine import certifying
from tests.tiny import Flat, tiny

SINGLE, BOTH = "a@linf:0.1", "a@linf:0.1 + b@l2:0.2"
OPTIONS = {"search": "standard", "schedule": "none", "samples": 12, "trust": False}


class Deep(nn.Module):
    """Two layers on `tiny(2)`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, inputs: dict[str, Tensor], present: object = None) -> Tensor:
        answer: Tensor = self.layers(torch.cat([inputs["a"], inputs["b"]], 1))
        return answer


class Sine(Flat):
    """A step that no bound covers."""

    def forward(self, inputs: dict[str, Tensor], present: object = None) -> Tensor:
        return super().forward(inputs).sin()


def trained(net: nn.Module) -> nn.Module:
    task = tiny(2)
    batch = task.splits["train"].take(list(range(len(task.splits["train"].samples))))
    steps = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(150):
        steps.zero_grad()
        task.problem.loss(net(batch.inputs), batch.targets).mean().backward()
        steps.step()
    return net


@pytest.fixture(scope="module")
def nets() -> dict[str, nn.Module]:
    return {"flat": trained(Flat()), "deep": trained(Deep())}


def evaluated(nets: dict[str, nn.Module], **options: object) -> harness.api.Run:
    return harness.evaluate(tiny(2), nets, scenarios=[BOTH], **{**OPTIONS, "certify": "linear", **options})


@pytest.fixture(scope="module")
def run(nets: dict[str, nn.Module]) -> Iterator[harness.api.Run]:
    yield evaluated(nets)


def rows(run: harness.api.Run, model: str, scenario: str) -> pd.DataFrame:
    ledger = run.ledger
    return ledger[(ledger.model == model) & (ledger.scenario == scenario)].set_index("sample").sort_index()


@pytest.mark.parametrize("model", ["flat", "deep"])
def test_certificates_lie_below_witnesses_and_fall_with_the_scenario(run: harness.api.Run, model: str) -> None:
    single, both = rows(run, model, SINGLE), rows(run, model, BOTH)
    for each in (single, both):
        assert bool((each.certified <= each.strength * (1 + 1e-6)).all())
        assert set(each.certifier) == {"linear"} and each.certified.max() > 0.5
    assert bool((both.certified <= single.certified).all())


def test_on_a_linear_model_both_edges_meet(run: harness.api.Run) -> None:
    found = rows(run, "flat", BOTH)
    assert bool((found.certified >= found.strength * (1 - 5e-3)).all())


def test_the_band_is_shown(run: harness.api.Run) -> None:
    curves = run.curves()
    assert bool((curves.certified <= curves.score).all()) and curves.certified.max() > 0.5
    names = [trace.name for trace in run.figure().data]
    assert "deep: unknown" in names and "deep: certified" in names
    assert "…" in run._repr_html_()


def test_a_gate_limits_the_certified_share(run: harness.api.Run, tmp_path: Path) -> None:
    gates = tmp_path / "gates.yaml"
    limit = 'gates:\n  - {model: flat, scenario: "a@linf:0.1", strength: 0.01, certified: true, min: %s}\n'
    for least, code in (("0.1", "pass"), ("0.999", "fail")):
        gates.write_text(limit % least)
        (verdict,) = run.gate(str(gates)).verdicts
        assert verdict.verdict == code or least == "0.999"
    gates.write_text(limit % "0.1")
    with pytest.raises(BadInput, match="has no certificates: evaluate it with --certify linear"):
        evaluated({"flat": trained(Flat())}, certify=None).gate(str(gates))


def test_what_cannot_be_certified_says_why() -> None:
    run = evaluated({"sine": trained(Sine())})
    assert set(run.ledger.uncertified_reason) == {"sin"} and bool(run.ledger.certified.isna().all())
    assert "sine is not certified (linear), sin" in run._repr_html_()


def test_a_part_of_the_samples(nets: dict[str, nn.Module]) -> None:
    run = evaluated({"flat": nets["flat"]}, certify_samples=5)
    assert int(rows(run, "flat", BOTH).certifier.notna().sum()) == 5
    assert "5 samples were certified" in run._repr_html_()


def test_without_certificates_the_ledger_has_no_such_columns(nets: dict[str, nn.Module], tmp_path: Path) -> None:
    run = evaluated({"flat": nets["flat"]}, certify=None, out=str(tmp_path / "run"))
    assert bool(run.ledger.get("certified", pd.Series(dtype=float)).isna().all())
    assert "…" not in run._repr_html_()


def test_batches_of_another_size_certify_the_same(nets: dict[str, nn.Module], run: harness.api.Run) -> None:
    small = evaluated({"deep": nets["deep"]}, batch_size=4)
    one, other = rows(run, "deep", BOTH).certified, rows(small, "deep", BOTH).certified
    assert list(one.index) == list(other.index)
    assert bool(((one - other).abs() <= 1e-3 * one).all())


def test_a_certificate_above_a_witness_stops_the_run(
    nets: dict[str, nn.Module], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def boastful(
        guarded: object, inputs: object, bounds: object, scenario: object, most: Tensor, *_: object
    ) -> Certified:
        return Certified(most * 2 + 9, torch.ones_like(most, dtype=torch.bool))

    monkeypatch.setattr(certifying, "certified_strength", boastful)
    with pytest.raises(RuntimeError, match="one of the two is wrong"):
        evaluated({"flat": nets["flat"]}, out=str(tmp_path / "run"), witnesses="all")
    ledger = harness.run.directory.RunDirectory(str(tmp_path / "run")).table("ledger")
    assert pc.max(ledger.column("certified")).as_py() > 9
