"""A failure costs only its own rows: if a model raises under a condition, the rows of that
condition are lost, and no others.
"""

import json
from pathlib import Path

import pytest

from harness.run.directory import RunDirectory
from tests.harness.test_cli import run

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
