"""A failure costs only its own rows: if a model raises under a condition, the rows of that
condition are lost, and no others.
"""

import json
from pathlib import Path

import pytest

from harness.run.directory import RunDirectory
from tests.commandline import run

MINE = """
import torch
from harness.tasks import Task
class Net(torch.nn.Module):
    def forward(self, inputs, present=None):
        evidence = inputs["a"].mean(1) + inputs["b"].mean(1)
        return torch.stack([-evidence, evidence], 1)
class WithoutB(Net):
    def forward(self, inputs, present):
        if not bool(present[:, 1].all()):
            raise KeyError("b")
        return super().forward(inputs, present)
class EndsWithoutB(WithoutB):
    def forward(self, inputs, present):
        try:
            return super().forward(inputs, present)
        except KeyError:
            raise SystemExit(0)
class NanWithoutB(Net):
    def forward(self, inputs, present):
        return super().forward(inputs, present).masked_fill(~present[:, 1:], float("nan"))
class AttackedA(Net):
    def forward(self, inputs, present):
        if inputs["a"].requires_grad:
            raise RuntimeError("a has no gradient here")
        return super().forward(inputs, present)
def some(x, severity, modality, generator):
    if x.max() > 1.5:
        raise ZeroDivisionError("not this sample")
    return x + severity
def spoils(x, severity, modality, generator): return x / (x.max() < 1.5)
def never(objective, region, strength): raise ZeroDivisionError("an attack with a fault")
def build(task): return Net()
def without_b(task): return WithoutB()
def ends(task): return EndsWithoutB()
def nan(task): return NanWithoutB()
def attacked_a(task): return AttackedA()
def task():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    side = 2.0 * labels[:, None] - 1
    x = {"a": side + torch.randn(60, 3, generator=generator), "b": side + torch.randn(60, 3, generator=generator)}
    return Task.from_arrays(x, labels, balls={"a": "linf:0.5", "b": "linf:0.5"})
"""
COMMAND = [
    "evaluate",
    "--task",
    "mine.py:task",
    "--search",
    "fast",
    "--samples",
    "12",
    "--batch-size",
    "6",
    "--repeats",
    "1",
    "--out",
    "run",
]


@pytest.fixture(autouse=True)
def mine(elsewhere: Path) -> None:
    (elsewhere / "mine.py").write_text(MINE)


def conditions(table: str, column: str, status: str) -> set[str]:
    return {row[column] for row in RunDirectory("run").table(table).to_pylist() if row["status"] == status}


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("without_b", "KeyError: 'b'"),
        pytest.param("ends", "SystemExit: 0", marks=pytest.mark.slow),
        pytest.param("nan", "answers NaN or infinity", marks=pytest.mark.slow),
    ],
)
def test_a_model_that_raises_with_one_input_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: str, why: str
) -> None:
    scenarios = ["--scenario", "a@linf:0.5 + b@linf:0.5", "--scenario", "a@linf:0.5 + b@missing", "--attributions", "2"]
    assert run(monkeypatch, *COMMAND, "--model", f"mine.py:{model}", "--model", "mine.py:build", *scenarios) == 5
    said = capsys.readouterr().out
    assert "rows are errors. No number includes them." in said and "Traceback" not in said
    assert RunDirectory("run").table("samples").num_rows == 24, "the clean scores of both"
    broken = {"a@linf:0.5 + b@missing"}
    assert conditions("ledger", "scenario", "error") == broken
    assert conditions("ledger", "scenario", "ok") == {"a@linf:0.5", "b@linf:0.5", "a@linf:0.5 + b@linf:0.5"} | broken, (
        "the other model has them"
    )
    assert {"fixed(b)", "fixed(a+b)"} <= conditions("sweep", "name", "error") <= {"fixed(b)", "fixed(a+b)", "mcar"}
    assert any(why in path.read_text() for path in Path("run/errors").glob("*.txt"))
    assert run(monkeypatch, *COMMAND, "--model", f"mine.py:{model}", "--model", "mine.py:build", *scenarios) == 5
    assert "0 cells to do" in capsys.readouterr().out, "what is done is done"


def test_an_attack_on_which_a_model_raises_costs_itself_and_what_stands_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:attacked_a") == 5
    assert conditions("ledger", "scenario", "error") == {"a@linf:0.5", "a@linf:0.5 + b@linf:0.5"}
    assert conditions("ledger", "scenario", "ok") == {"b@linf:0.5"}
    assert not conditions("sweep", "name", "error")
    assert json.loads(Path("run/run.json").read_text())["status"] == "finished with errors"


def test_no_input_goes_missing_without_a_schedule(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:without_b", "--schedule", "none") == 0
    assert "missing" not in capsys.readouterr().out.splitlines(), "there is no such section"
    assert RunDirectory("run").table("sweep").num_rows == 0
    for verb in (["report", "run"], ["report", "run", "--markdown", "-"], ["verify", "run", "--code", "mine.py"]):
        assert run(monkeypatch, *verb) == 0
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build", "--schedule", "none", "--schedule", "mcar:0") == 2
    assert "'none' means that no input goes missing" in capsys.readouterr().err


@pytest.mark.parametrize("corruption", ["some", "spoils"])
def test_a_corruption_that_fails_on_a_sample_costs_that_row(monkeypatch: pytest.MonkeyPatch, corruption: str) -> None:
    words = ("--schedule", "none", "--corruption", f"a@mine.py:{corruption}:0,3", "--model", "mine.py:build")
    assert run(monkeypatch, *COMMAND, *words) == 5
    assert RunDirectory("run").table("samples").num_rows == 12, "every clean score"
    assert not conditions("ledger", "scenario", "error")
    rows = [row for row in RunDirectory("run").table("sweep").to_pylist() if row["kind"] == "corruption"]
    lost = {(row["level"], row["sample"]) for row in rows if row["status"] == "error"}
    assert {level for level, _ in lost} == {3.0} and 0 < len(lost) < 12
    assert sum(row["status"] == "ok" for row in rows) == 24 - len(lost)


def test_an_attack_that_fails_leaves_what_the_search_found(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--schedule", "none", "--model", "mine.py:build")
    assert run(monkeypatch, *COMMAND[:-1], "alone", *words) == 0
    assert run(monkeypatch, *COMMAND, *words, "--attack", "mine.py:never") == 5
    found = [
        sorted((row["sample"], row["scenario"], row["strength"], row["status"]) for row in table.to_pylist())
        for table in (RunDirectory(url).table("ledger") for url in ("alone", "run"))
    ]
    assert found[0] == found[1]
    assert any("an attack with a fault" in path.read_text() for path in Path("run/errors").glob("*.txt"))
