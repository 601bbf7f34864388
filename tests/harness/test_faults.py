"""What goes wrong while a run is written: a full disk, a second process, a model that hangs, a bit that flips."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.rundir import RunDirectory
from harness.storage import PARTIAL
from tests.harness.test_cli import run

MINE = """
import time
import torch
from harness.tasks import Task

class Linear(torch.nn.Module):
    def forward(self, inputs, present=None):
        evidence = inputs["a"].mean(1)
        return torch.stack([-evidence, evidence], dim=1)

class Hangs(Linear):
    calls = 0
    def forward(self, inputs, present=None):
        if bool((inputs["a"] > 90).any()):
            while True:
                time.sleep(0.01)
        return super().forward(inputs, present)

def build(task): return Linear()
def hangs(task): return Hangs()

def task():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(40, 4, generator=generator)
    a[33, 0] = 99
    return Task.from_arrays({"a": a}, torch.arange(40) % 2, splits=["train"] * 20 + ["val"] * 8 + ["test"] * 12)
"""
COMMAND = ["evaluate", "--task", "mine.py:task", "--search", "fast", "--samples", "all", "--batch-size", "4", "--no-trust", "--out", "run"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(out: str = "run") -> list[dict[str, Any]]:
    return sorted(RunDirectory(out).table("ledger").to_pylist(), key=lambda row: (row["sample"], row["scenario"]))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_more_is_one_sentence_and_loses_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """The third write of a table fails; then there is room again, and the same command goes on to the same ledger."""
    assert run(monkeypatch, *COMMAND[:-1], "whole", "--model", "mine.py:build") == 0
    written, replaced = [], Path.replace

    def full(self: Path, target: Any) -> Path:
        written.append(target)
        if "ledger" in str(target) and sum("ledger" in str(each) for each in written) == 2:
            raise OSError(number, os.strerror(number))
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", full)
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 2
    assert f"--out run cannot be written: {os.strerror(number)}" in capsys.readouterr().err
    monkeypatch.setattr(Path, "replace", replaced)
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 0
    strip = [[{**row, "run": ""} for row in rows(out)] for out in ("run", "whole")]
    assert strip[0] == strip[1]


def test_a_second_process_says_so_and_stops(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The first is killed in the end: no lock outlives its process."""
    hold = "import time; from harness.storage import Storage; d = Storage('run'); d.claim(); print('held', flush=True); "
    hold += "time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 2
        assert "being written by another process" in capsys.readouterr().err
        assert not (here / "run" / "run.json").exists()
        first.kill()
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 0
    assert run(monkeypatch, "report", "run") == 0, "readers need no lock"


def test_a_model_that_hangs_costs_its_cell_and_the_rest_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.monotonic()
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:hangs", "--model", "mine.py:build", "--cell-limit", "3s") == 5
    assert time.monotonic() - begun < 60
    states = {(row["model"], row["status"]) for row in rows()}
    assert states == {("mine.py:hangs", "ok"), ("mine.py:hangs", "error"), ("mine.py:build", "ok")}
    failed = [row["sample"] for row in rows() if row["status"] == "error"]
    assert 0 < len(set(failed)) <= 4
    assert "longer than --cell-limit, 3 s" in next((here / "run" / "errors").iterdir()).read_text()


@pytest.mark.parametrize("table", ["samples", "sweep", "ledger"])
def test_a_flipped_bit_is_found_wherever_it_is(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    """Every bit of 200 spread over the file: read as it was, or named with its file; never another number."""
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 0
    part = next((here / "run" / table).glob("*.parquet"))
    sound, before = part.read_bytes(), RunDirectory("run").table(table).to_pylist()
    for step in range(200):
        at = step * len(sound) // 200
        part.write_bytes(sound[:at] + bytes([sound[at] ^ (1 << step % 8)]) + sound[at + 1 :])
        try:
            assert RunDirectory("run").table(table).to_pylist() == before, f"byte {at} of {len(sound)}"
        except Exception as error:
            assert type(error).__name__ == "BadInput" and part.name in str(error), f"byte {at}: {error!r}"


def test_nothing_half_written_is_left_to_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 0
    assert not list((here / "run").rglob(f"*{PARTIAL}"))
