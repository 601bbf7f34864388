"""Every kind of answer goes all the way: evaluate, resume, merge, verify, report, gate, pages."""

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness.tasks.problems as problems
from harness.run.directory import RunDirectory
from harness.tasks import Problem
from harness.tasks.problems.problem import lacking
from tests.app.conftest import PAGES, open_page
from tests.commandline import run
from tests.harness.tasks.problems.linear_tasks import MODELS, RAISES, TASKS

FILE = """
from tests.harness.tasks.problems.linear_tasks import MODELS, TASKS
def task(): return TASKS["{name}"]()
def build(task): return MODELS["{name}"]()
"""
LONG = {"features": 3 + 2 * 1280, "long-labels": 1000}  # tasks of long tallies, and their numbers
RUN = ("evaluate", "--task", "my.py:task", "--model", "my.py:build", "--search", "fast", "--samples", "4")
EVALUATE = (*RUN, "--batch-size", "2", "--repeats", "1", "--witnesses", "all")


@pytest.fixture(params=sorted(TASKS))
def name(request: pytest.FixtureRequest, elsewhere: Path) -> str:
    (elsewhere / "my.py").write_text(FILE.format(name=request.param))
    return str(request.param)


def rows(out: str, table: str) -> list[dict[str, Any]]:
    found = [{k: v for k, v in row.items() if k != "run"} for row in RunDirectory(out).table(table).to_pylist()]
    return sorted(found, key=str)


def test_a_run_of_every_kind_of_answer(
    name: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    thresholds = getattr(TASKS[name]().problem, "thresholds", (None,))
    assert run(monkeypatch, *EVALUATE, "--attributions", "1", "--out", "run") == 0
    assert "errors" not in capsys.readouterr().out
    ledger = rows("run", "ledger")
    assert {row["status"] for row in ledger} == {"ok"} and {row["threshold"] for row in ledger} == set(thresholds)
    long = name in LONG
    assert all(isinstance(row["label"], str) and (row["tally"] is None) == long for row in ledger)
    assert bool(rows("run", "fronts")) == (thresholds != (None,))
    assert {len(row["tally"]) for row in rows("run", "tallies")} == ({LONG[name]} if long else set())
    assert {each.kind for each in RunDirectory("run").notes.metrics()} == {"clean", "schedule", "attacked"}

    (elsewhere / "run" / "ledger").joinpath(next(iter(RunDirectory("run").listing("ledger")))).unlink()
    assert run(monkeypatch, *EVALUATE, "--attributions", "1", "--out", "run") == 0
    assert rows("run", "ledger") == ledger, "a cell that was lost is done again, alike"
    if long:
        metrics, tallies = RunDirectory("run").notes.metrics(), elsewhere / "run" / "tallies"
        next(tallies.iterdir()).unlink()
        assert run(monkeypatch, "verify", "run", "--files") == 3
        assert run(monkeypatch, *EVALUATE, "--attributions", "1", "--out", "run") == 0
        assert rows("run", "ledger") == ledger and RunDirectory("run").notes.metrics() == metrics

    for part in ("1", "2"):
        assert run(monkeypatch, *EVALUATE, "--shard", f"{part}/2", "--no-trust", "--out", f"part-{part}") == 0
    assert run(monkeypatch, "merge", "whole", "part-1", "part-2", "--code", "my.py") == 0
    assert [row["strength"] for row in rows("whole", "ledger")] == [row["strength"] for row in ledger]

    capsys.readouterr()
    assert run(monkeypatch, "verify", "run", "--code", "my.py") == 0
    said = capsys.readouterr().out
    stored = sum(row["witness"] != "" for row in ledger)
    assert stored and f"{stored} witnesses re-checked, {stored} hold" in said
    assert run(monkeypatch, "verify", "run", "--files") == 0
    assert run(monkeypatch, "report", "run") == 0 and run(monkeypatch, "report", "run", "--markdown", "r.md") == 0
    scenario = json.loads(Path("run/run.json").read_text())["identity"]["scenarios"][0]
    gates = [{"model": "my.py:build", "min": 0.0}, {"model": "my.py:build", "scenario": scenario, "min": 0.0}]
    Path("gates.yaml").write_text(yaml.safe_dump({"gates": gates}))
    assert run(monkeypatch, "gate", "run", "--gates", "gates.yaml") in (0, 4)
    assert run(monkeypatch, "bless", "run", "--out", "base.parquet") == 0
    assert run(monkeypatch, "compare", "run", "base.parquet") == 0


def test_every_page_shows_a_run_of_every_kind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *EVALUATE, "--no-trust", "--schedule", "none", "--out", "runs/run") == 0
    for page in PAGES:
        test = open_page(monkeypatch, Path("runs"), page)
        assert not test.exception and not test.error, (page, test.exception or test.error)


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("maps", ("--scenario", "rgb@patch:0.1"), "is judged over random draws"),
        ("maps", ("--scenario", "rgb@universal:0.1"), "is judged over random draws"),
        ("labels", ("--attack", "segpgd"), "raises the loss 'masked_cross_entropy', which task 'labels' does not have"),
        ("sounds", ("--scenario", "near@shift:20"), "moves the input but not the target"),
        ("sounds", ("--corruption", "near@shift:3"), "moves the input but not the target"),
    ],
    indirect=["name"],
)
def test_what_would_give_a_wrong_number_is_refused(
    name: str, arguments: tuple[str, ...], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *EVALUATE, *arguments, "--out", "run") == 2
    assert why in " ".join(capsys.readouterr().err.split())


VARIES = """
from dataclasses import dataclass
from harness.tasks import MultiLabel, Task
from tests.harness.tasks.problems import linear_tasks
@dataclass(frozen=True)
class Odd(MultiLabel):
    def tally(self, outputs, targets):
        return super().tally(outputs, targets).repeat(1, 1 + len(outputs) % 2)
def task(): return linear_tasks.of_features("odd", (linear_tasks.evidence() > 0).long(), Odd(3))
build = lambda task: linear_tasks.MODELS["labels"]()
"""


def test_a_tally_whose_length_depends_on_the_batch_is_refused(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "my.py").write_text(VARIES)
    assert run(monkeypatch, *EVALUATE, "--out", "run") == 2
    assert "give the same number for every sample" in " ".join(capsys.readouterr().err.split())


OTHER_SHAPE = """
from tests.harness.tasks.problems.linear_tasks import MODELS, TASKS
def task(): return TASKS["{name}"]()
def build(task):
    model = MODELS["{name}"]()
    class Shorter(type(model)):
        def forward(self, inputs, present=None):
            return super().forward(inputs, present)[..., :-1]
    model.__class__ = Shorter
    return model
"""


def test_an_answer_of_another_shape_is_refused(
    name: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "my.py").write_text(OTHER_SHAPE.format(name=name))
    assert run(monkeypatch, *RUN, "--out", "run") == 2
    assert "needs outputs of shape" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_raises_under_attack_costs_each_threshold_one_row(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "my.py").write_text(RAISES)
    assert run(monkeypatch, *EVALUATE, "--schedule", "none", "--no-trust", "--out", "run") == 5
    found = [(row["sample"], row["scenario"], row["threshold"], row["status"]) for row in rows("run", "ledger")]
    assert len(set(found)) == len(found) == 4 * 3 * 3
    assert {status for *_, status in found} == {"ok", "error"}


def test_attacks_of_fixed_strength_lower_the_score_of_a_map(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing fails, the lowest score on the way is kept."""
    (elsewhere / "my.py").write_text(FILE.format(name="maps"))
    only = ("--search", "none", "--schedule", "none", "--no-trust", "--scenario", "rgb@linf:0.05")
    attacks = ("--attack", "segpgd?steps=5", "--attack", "cospgd?steps=5", "--attack", "pgd?steps=5")
    assert run(monkeypatch, *EVALUATE, *only, *attacks, "--out", "run") == 0
    lowered = {row["sample"] for row in rows("run", "fronts") if 0 < row["strength"] <= 1}
    assert len(lowered) == 4


def test_every_problem_is_run() -> None:
    """One that is added to the package has to be added to the tasks here."""
    places = [f"{problems.__name__}.{each.name}" for each in pkgutil.iter_modules(problems.__path__)]
    kinds = {
        kind for place in places for kind in vars(importlib.import_module(place)).values() if isinstance(kind, type)
    }
    whole = {kind for kind in kinds - {Problem} if not lacking(kind)}
    assert whole <= {type(make().problem) for make in TASKS.values()}
    assert MODELS.keys() == TASKS.keys()
