"""Cells in processes: the ledger of one process, whatever happens to a worker."""

from pathlib import Path

import pytest

from harness.run.directory import RunDirectory
from tests.harness.engine.executors.linear_run import rows, run


def test_the_ledger_and_the_witnesses_do_not_depend_on_the_workers(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--model", "mine.py:build", "--witnesses", "all", "--out", "one") == 0
    assert run(monkeypatch, "--model", "mine.py:build", "--witnesses", "all", "--out", "two", "--workers", "2") == 0
    assert rows("one") == rows("two")
    held = [
        {key: x for tensors, _ in RunDirectory(out).witnesses() for key, x in tensors.items()} for out in ("one", "two")
    ]
    assert held[0].keys() == held[1].keys() and held[0]
    assert all(x.equal(held[1][key]) for key, x in held[0].items())


def test_a_process_that_dies_once_costs_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--model", "mine.py:dies_once", "--out", "two", "--workers", "2") == 0
    assert (here / "died").exists()
    assert run(monkeypatch, "--model", "mine.py:build", "--out", "one") == 0
    drop = [
        [{k: v for k, v in row.items() if k not in ("run", "model")} for row in rows(out)] for out in ("one", "two")
    ]
    assert drop[0] == drop[1]


def test_what_kills_its_process_every_time_is_an_error_of_its_cell(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        run(monkeypatch, "--model", "mine.py:dies", "--model", "mine.py:build", "--out", "two", "--workers", "2") == 5
    )
    found = rows("two")
    failed = {row["sample"] for row in found if row["status"] == "error"}
    assert 0 < len(failed) <= 4 and {row["model"] for row in found if row["status"] == "error"} == {"mine.py:dies"}
    assert len({row["sample"] for row in found if row["model"] == "mine.py:dies"}) == 12
    assert "its process was killed twice" in next((here / "two" / "errors").iterdir()).read_text()


def test_a_model_that_cannot_answer_in_a_process_costs_its_own_cells_only(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample that kills it is among the first that every worker evaluates."""
    monkeypatch.setenv("DEADLY", "50")
    assert (
        run(monkeypatch, "--model", "mine.py:dies", "--model", "mine.py:build", "--out", "two", "--workers", "2") == 5
    )
    states = {(row["model"], row["status"]) for row in rows("two")}
    assert states == {("mine.py:dies", "error"), ("mine.py:build", "ok")}


def test_a_file_that_changes_under_a_run_is_noticed_by_its_workers(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that reads a file during its calls: the driver's answers come from another file than
    the workers'.
    """
    assert run(monkeypatch, "--model", "mine.py:reads", "--out", "two", "--workers", "2") == 2
    assert "the run began with another model 'mine.py:reads' (it answers 16 of 16 samples" in capsys.readouterr().err


def test_a_model_that_raises_in_a_process_is_reported_with_its_traceback(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "--model", "mine.py:raises", "--out", "two", "--workers", "2") == 5
    assert "ZeroDivisionError: a fault of the model" in next((here / "two" / "errors").iterdir()).read_text()


def test_bad_numbers_of_workers_are_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--model", "mine.py:build", "--workers", "0") == 2
    assert "workers" in capsys.readouterr().err
