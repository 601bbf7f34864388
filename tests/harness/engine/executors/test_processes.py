"""Cells in processes: the ledger of one process, whatever happens to a worker."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.run.directory import RunDirectory
from tests.harness.test_cli import run as run_command

MINE = """
import os
import signal
import torch
from pathlib import Path
from harness.tasks import Task

UNASKED, ASKED = 33, 50  # rows of the test split that no fingerprint holds, and that every one does

class Linear(torch.nn.Module):
    def forward(self, inputs, present=None):
        evidence = inputs["a"].mean(1) + 0.3 * inputs["b"].mean(1)
        return torch.stack([-evidence, evidence], dim=1)

class Dies(Linear):
    always = True
    def forward(self, inputs, present=None):
        marked = bool((inputs["a"] > 90).any())
        if marked and os.getpid() != int(os.environ["DRIVER"]):
            if self.always or not Path("died").exists():
                Path("died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(inputs, present)

class DiesOnce(Dies):
    always = False

class Raises(Linear):
    def forward(self, inputs, present=None):
        if bool((inputs["a"] > 90).any()) and len(inputs["a"]) and inputs["a"].requires_grad:
            raise ZeroDivisionError("a fault of the model")
        return super().forward(inputs, present)

class Reads(Linear):
    def forward(self, inputs, present=None):
        return super().forward(inputs, present) * (1 if os.getpid() == int(os.environ["DRIVER"]) else -1)

def reads(task): return Reads()
def build(task): return Linear()
def dies(task): return Dies()
def dies_once(task): return DiesOnce()
def raises(task): return Raises()

def task():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(60, 4, generator=generator), torch.randn(60, 3, generator=generator)
    a[int(os.environ.get("DEADLY", UNASKED)), 0] = 99
    labels = torch.arange(60) % 2
    return Task.from_arrays({"a": a, "b": b}, labels, splits=["train"] * 20 + ["val"] * 8 + ["test"] * 32)
"""
COMMAND = ["evaluate", "--task", "mine.py:task", "--search", "fast", "--samples", "12", "--batch-size", "4", "--no-trust"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIVER", str(os.getpid()))
    yield tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    return run_command(monkeypatch, *COMMAND, *arguments)


def rows(out: str) -> list[dict[str, Any]]:
    return sorted(RunDirectory(out).table("ledger").to_pylist(), key=lambda row: (row["model"], row["sample"], row["scenario"]))


def test_the_ledger_and_the_witnesses_do_not_depend_on_the_workers(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--model", "mine.py:build", "--witnesses", "all", "--out", "one") == 0
    assert run(monkeypatch, "--model", "mine.py:build", "--witnesses", "all", "--out", "two", "--workers", "2") == 0
    assert rows("one") == rows("two")
    held = [{key: x for tensors, _ in RunDirectory(out).witnesses() for key, x in tensors.items()} for out in ("one", "two")]
    assert held[0].keys() == held[1].keys() and held[0]
    assert all(x.equal(held[1][key]) for key, x in held[0].items())


def test_a_process_that_dies_once_costs_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--model", "mine.py:dies_once", "--out", "two", "--workers", "2") == 0
    assert (here / "died").exists()
    assert run(monkeypatch, "--model", "mine.py:build", "--out", "one") == 0
    drop = [[{k: v for k, v in row.items() if k not in ("run", "model")} for row in rows(out)] for out in ("one", "two")]
    assert drop[0] == drop[1]


def test_what_kills_its_process_every_time_is_an_error_of_its_cell(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--model", "mine.py:dies", "--model", "mine.py:build", "--out", "two", "--workers", "2") == 5
    found = rows("two")
    failed = {row["sample"] for row in found if row["status"] == "error"}
    assert 0 < len(failed) <= 4 and {row["model"] for row in found if row["status"] == "error"} == {"mine.py:dies"}
    assert len({row["sample"] for row in found if row["model"] == "mine.py:dies"}) == 12
    assert "its process was killed, twice" in next((here / "two" / "errors").iterdir()).read_text()


def test_a_model_that_cannot_be_asked_in_a_process_costs_its_own_cells_only(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample that kills it is among those that every worker asks a model about first."""
    monkeypatch.setenv("DEADLY", "50")
    assert run(monkeypatch, "--model", "mine.py:dies", "--model", "mine.py:build", "--out", "two", "--workers", "2") == 5
    states = {(row["model"], row["status"]) for row in rows("two")}
    assert states == {("mine.py:dies", "error"), ("mine.py:build", "ok")}


def test_a_file_that_changes_under_a_run_is_noticed_by_its_workers(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that reads a file when it is asked: the driver's answers are of another file than the workers'."""
    assert run(monkeypatch, "--model", "mine.py:reads", "--out", "two", "--workers", "2") == 2
    assert "the run began with another model 'mine.py:reads' (it answers 16 of 16 samples" in capsys.readouterr().err


def test_a_model_that_raises_in_a_process_is_told_with_its_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--model", "mine.py:raises", "--out", "two", "--workers", "2") == 5
    assert "ZeroDivisionError: a fault of the model" in next((here / "two" / "errors").iterdir()).read_text()


def test_bad_numbers_of_workers_are_refused(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--model", "mine.py:build", "--workers", "0") == 2
    assert "workers" in capsys.readouterr().err
