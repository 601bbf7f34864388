"""The failures that checks of trust find count in the numbers, wherever these are read."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

import harness
from attacks.scenario import closure, parse
from harness.api import load
from harness.commands.filecheck import file_faults
from harness.engine import judged, plan
from harness.run import schema
from harness.run.directory import RunDirectory
from harness.tasks import Segmentation, Task
from tests.commandline import own_folder, run

JOINT = "image@linf:0.05 + sensor@l2:0.5"
SCENARIOS = [str(each) for each in closure([parse(JOINT)])]
MODELS = """
def backwards(x): return 2 * x.detach() - x
class Misleading(Linear):  # its gradients lead the wrong way
    def forward(self, inputs, present=None):
        return super().forward({name: backwards(x) for name, x in inputs.items()}, present)
def misleading(task): return Misleading()
"""


@pytest.fixture
def toy(elsewhere: Path) -> Path:
    own_folder(elsewhere, MODELS)
    return elsewhere


def evaluate(monkeypatch: pytest.MonkeyPatch, out: str, *flags: str, model: str = "misleading") -> list[dict[str, Any]]:
    """The ledger's rows of a run of 48 samples, in order."""
    given = ["--task", "my.py:MyTask", "--model", f"my.py:{model}", "--scenario", JOINT, "--out", out]
    more = ["--samples", "48", "--search", "fast", "--schedule", "none", "--witnesses", "all"]
    assert run(monkeypatch, "evaluate", *given, *more, *flags) == 0
    ledger = RunDirectory(out).ledger()
    return sorted(ledger.to_pylist(), key=lambda row: (row["sample"], SCENARIOS.index(row["scenario"])))


def test_what_checks_break_counts(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, blind = evaluate(monkeypatch, "run"), evaluate(monkeypatch, "blind", "--no-trust")
    for row, before in zip(rows, blind, strict=True):
        searched = row["strength"] if row["searched"] is None else row["searched"]
        assert row["strength"] <= searched == before["strength"] and before["searched"] is None
    counted = {name: [row for row in rows if row["scenario"] == name and row["searched"]] for name in SCENARIOS}
    assert all(counted.values())
    assert {row["finder"] for row in rows if row["searched"]} <= {
        "square",
        "blackbox-300",
        "unlimited",
        "rising",
        *(f"witness of {scenario}" for scenario in SCENARIOS),
    }
    flags = load("run").flags
    blackbox = flags[flags["check"] == "blackbox"].set_index("scenario")["value"]
    assert len(counted[SCENARIOS[0]]) > 32 * blackbox[SCENARIOS[0]] > 0  # it went on to all samples


def test_a_larger_scenario_is_not_safer_and_every_witness_holds(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = evaluate(monkeypatch, "run")
    strengths = {(row["sample"], row["scenario"]): row["strength"] for row in rows}
    for (sample, scenario), strength in strengths.items():
        assert strengths[sample, JOINT] <= strength, (sample, scenario)
    assert run(monkeypatch, "verify", "run", "--code", "my.py") == 0
    assert run(monkeypatch, "verify", "run", "--files") == 0
    shown = capsys.readouterr().out
    assert ", 0 hold" not in shown and "no faults found" in shown


@pytest.mark.parametrize("batch_size", ["12"])
def test_the_batch_size_and_a_second_run_change_nothing(
    toy: Path, monkeypatch: pytest.MonkeyPatch, batch_size: str
) -> None:
    rows, flags = evaluate(monkeypatch, "run"), RunDirectory("run").notes.trust()
    assert evaluate(monkeypatch, "run") == rows and RunDirectory("run").notes.trust() == flags
    assert evaluate(monkeypatch, "other", "--batch-size", batch_size) == rows


def test_a_kill_between_two_cells_is_made_up_for(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = evaluate(monkeypatch, "whole", "--batch-size", "16")
    put, calls = RunDirectory.put, []

    def killed(self: RunDirectory, key: str, tables: Any, *rest: Any) -> None:
        calls.append(key)
        if calls.count(key) == 2 and len(set(calls)) < len(calls) - 1:
            raise KeyboardInterrupt
        put(self, key, tables, *rest)

    def no_searched(table: pa.Table) -> bool:
        return table.column("searched").null_count == len(table)

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "put", killed)
        given = ["--task", "my.py:MyTask", "--model", "my.py:misleading", "--scenario", JOINT, "--out", "cut"]
        more = ["--samples", "48", "--search", "fast", "--schedule", "none", "--witnesses", "all", "--batch-size", "16"]
        assert run(patched, "evaluate", *given, *more) == 130
    cut = RunDirectory("cut")
    assert {no_searched(cut.cell(key)[0]["ledger"]) for key in cut.cells_done()} == {True, False}
    assert evaluate(monkeypatch, "cut", "--batch-size", "16") == rows


def test_what_a_search_without_gradients_finds_beside_edits_counts(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["--task", "my.py:MyTask", "--scenario", "image@l0:6", "--samples", "24", "--search", "fast"]
    rows = {}
    for model in ("build", "misleading"):
        more = ["--model", f"my.py:{model}", "--schedule", "none", "--witnesses", "all", "--out", model]
        assert run(monkeypatch, "evaluate", *given, *more) == 0
        rows[model] = [row["strength"] for row in RunDirectory(model).ledger().to_pylist()]
    counted = [row for row in RunDirectory("misleading").ledger().to_pylist() if row["searched"] is not None]
    assert counted and {row["finder"] for row in counted} == {"blackbox-300"}
    withstood = {model: sum(strength > 1 for strength in found) for model, found in rows.items()}
    assert withstood["build"] <= withstood["misleading"] <= withstood["build"] + 4 < 24
    assert run(monkeypatch, "verify", "misleading", "--code", "my.py") == 0


def test_a_sound_number_stays(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = evaluate(monkeypatch, "run", "--search", "standard", model="build")
    assert all(row["searched"] is None for row in rows)
    assert rows == evaluate(monkeypatch, "blind", "--search", "standard", "--no-trust", model="build")


class Misled(torch.nn.Module):
    """Calls each pixel by its sign, from an image and a depth, with gradients that lead away."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        evidence = sum(2 * x.detach() - x for x in inputs.values())
        assert isinstance(evidence, torch.Tensor)
        return torch.cat([-evidence, evidence], 1)


def maps(side: int) -> Task:
    draws = torch.Generator().manual_seed(0)
    targets = (torch.rand(48, side, side, generator=draws) < 0.5).long()
    signs = 2.0 * targets[:, None] - 1
    inputs = {name: 0.1 * signs * (0.3 + torch.rand(48, 1, side, side, generator=draws)) for name in ("depth", "image")}
    return Task.from_arrays(
        inputs,
        targets,
        problem=Segmentation(2, (side, side)),
        kinds=dict.fromkeys(inputs, "image"),
        splits="test",
        name=f"maps-{side}",
    )


@pytest.mark.parametrize("long", [False, True])
def test_graded_answers_count_at_every_threshold(long: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if long:
        monkeypatch.setattr(schema, "LONGEST_IN_ROW", 1)
        for module in (judged, plan):
            monkeypatch.setattr(module, "LONGEST_IN_ROW", 1)
    joint = "depth@linf:0.1 + image@linf:0.1"
    options: dict[str, Any] = {"samples": "all", "search": "fast", "schedule": "none", "scenarios": [joint]}
    run = harness.evaluate(maps(4), {"misled": Misled()}, out=str(tmp_path / "run"), witnesses="all", **options)
    blind = harness.evaluate(maps(4), {"misled": Misled()}, trust=False, **options)
    keys = ["sample", "scenario", "threshold"]
    rows, before = (each.directory.table("ledger").to_pandas().set_index(keys).sort_index() for each in (run, blind))
    counted = rows[rows.searched.notna()]
    assert len(counted) > 10 and (rows.strength <= before.strength).all()
    assert (rows.searched.fillna(rows.strength) == before.strength).all()
    wide = rows.reset_index().pivot(index=["sample", "scenario"], columns="threshold", values="strength")
    assert all((wide[high] <= wide[low]).all() for low, high in pairwise(sorted(wide.columns)))
    small = wide.xs(joint, level="scenario").le(wide.xs("image@linf:0.1", level="scenario"))
    assert small.all().all()
    fronts = run.directory.table("fronts").to_pandas().set_index(["sample", "scenario"])
    for (sample, scenario, _), row in counted.iterrows():
        points = fronts.loc[[(sample, scenario)]].sort_values("strength")
        assert (points.score.diff().dropna() < 0).all() and len(points) <= 16
        met = points[points.strength <= row.strength + 1e-9]
        assert met.score.min() <= row.score + 1e-9
    assert file_faults(run.directory) == []
    again = harness.evaluate(maps(4), {"misled": Misled()}, out=str(tmp_path / "run"), witnesses="all", **options)
    assert again.directory.table("ledger").to_pylist() == run.directory.table("ledger").to_pylist()
    assert again.directory.table("fronts").to_pylist() == run.directory.table("fronts").to_pylist()


class Unsure(torch.nn.Module):
    """Misleading, and raises by chance."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        if float(torch.rand(())) < 0.02:
            raise ValueError("by chance")
        x = inputs["x"]
        evidence = (2 * x.detach() - x).sum(1)
        return torch.stack([-evidence, evidence], 1)


def test_a_model_that_raises_by_chance_ends_no_run() -> None:
    labels = torch.arange(40) % 2
    x = 0.1 * (2.0 * labels[:, None] - 1) * (0.5 + torch.rand(40, 4, generator=torch.Generator().manual_seed(0)))
    task = Task.from_arrays({"x": x}, labels, splits="test", name="unsure")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = harness.evaluate(
            task, {"unsure": Unsure()}, samples="all", search="fast", schedule="none", scenarios=["x@linf:0.1"]
        )
    assert "random" in set(run.flags["check"]) and set(run.ledger.status) <= {"ok", "error"}
