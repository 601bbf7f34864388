"""Models that raise, hang or end the program cost the samples that they break on, and no others."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.run.directory import RunDirectory
from tests.commandline import run
from tests.harness.run.faulty import COMMAND, rows


def test_a_model_that_hangs_costs_its_cell_and_the_rest_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.monotonic()
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:hangs", "--model", "mine.py:build", "--cell-limit", "3s") == 5
    assert time.monotonic() - begun < 60
    states = {(row["model"], row["status"]) for row in rows()}
    assert states == {("mine.py:hangs", "ok"), ("mine.py:hangs", "error"), ("mine.py:build", "ok")}
    failed = [row["sample"] for row in rows() if row["status"] == "error"]
    assert 0 < len(set(failed)) <= 4
    assert "longer than --cell-limit, 3 s" in next((here / "run" / "errors").iterdir()).read_text()


@pytest.mark.parametrize("kept", ["none", "1", "3", "11", "12", "all"])
@pytest.mark.parametrize("model", ["raises", "hangs"])
def test_a_sample_that_is_an_error_takes_no_other_samples_place_among_the_witnesses(
    here: Path, monkeypatch: pytest.MonkeyPatch, model: str, kept: str
) -> None:
    """One sample is an error, or those of a whole cell."""
    limit = ["--cell-limit", "1s"] if model == "hangs" else []
    assert run(monkeypatch, *COMMAND, "--model", f"mine.py:{model}", "--witnesses", kept, *limit) == 5
    assert run(monkeypatch, "verify", "run", "--files") == 0


BREAKS = [
    ("nan", "answers NaN or infinity on 1 of 1 samples"),
    ("raises", "ZeroDivisionError: a fault"),
    ("ends", "SystemExit: 0"),
]


@pytest.mark.parametrize(("model", "why"), BREAKS)
def test_a_model_that_breaks_on_one_sample_costs_it_and_the_rest_goes_on(here: Path, model: str, why: str) -> None:
    """As a process: it exits with 5, and without the faulty model with 0."""
    command = [sys.executable, "-m", "harness", *COMMAND]
    done = subprocess.run(
        [*command, "--model", f"mine.py:{model}", "--model", "mine.py:build"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5 and "Traceback" not in done.stderr, done.stderr
    states = {(row["model"], row["status"]) for row in rows()}
    assert states == {(f"mine.py:{model}", "ok"), (f"mine.py:{model}", "error"), ("mine.py:build", "ok")}
    failed = [row for row in rows() if row["status"] == "error"]
    assert len({row["sample"] for row in failed}) == 1 and {row["strength"] for row in failed} == {None}
    assert why in next((here / "run" / "errors").iterdir()).read_text()
    sound = subprocess.run([*command[:-1], "sound", "--model", "mine.py:build"], capture_output=True, check=False)
    assert sound.returncode == 0


def test_a_script_that_ends_the_program_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "script.py").write_text("import sys\ndef build(task): return None\nsys.exit(0)\n")
    assert run(monkeypatch, *COMMAND, "--model", "script.py:build") == 2
    assert "model 'script.py:build' cannot be imported: SystemExit: 0" in capsys.readouterr().err


AT_SOME = """
import torch
from harness.tasks import Task

def broken(x): return x.mean(1) > 0.9

class Untouched(torch.nn.Module):
    untouched = True
    def forward(self, inputs, present=None):
        a = inputs["a"]
        missing = present is not None and bool((~present[:, 1]).any())
        under_attack = (a.mean(1) < 0.5) & (inputs["b"] < 0).all(1)
        hurt = broken(a) if self.untouched else (a.mean(1) > 0.4) & (~present[:, 1] if missing else under_attack)
        if bool(hurt.any()): raise RuntimeError("no such input")
        evidence = a.mean(1) + inputs["b"].mean(1) - 0.5
        return torch.stack([-evidence, evidence], dim=1)

class Missing(Untouched):
    untouched = False

def untouched(task): return Untouched()
def missing(task): return Missing()
def task():
    a = torch.linspace(0, 1, 60)[:, None].repeat(1, 4)
    options = {"balls": {"a": "linf:0.2", "b": "linf:0.2"}, "ranges": {"a": (-2, 2), "b": (-2, 2)}}
    return Task.from_arrays({"a": a, "b": 1 - a[:, :2]}, (a[:, 0] > 0.5).long(), **options)
"""


@pytest.mark.parametrize("model", ["untouched", "missing"])
def test_what_raises_does_not_depend_on_the_batch(here: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """Untouched, in the sweep and under attack: each error is the row of its own sample."""
    (here / "mine.py").write_text(AT_SOME)
    found = []
    for size in (1, 5, 12):
        command = [*COMMAND[:-1], f"run{size}", "--model", f"mine.py:{model}"]
        command += ["--scenario", "a@linf:0.2", "--scenario", "a@linf:0.2 + b@missing"]
        assert run(monkeypatch, *command, "--batch-size", str(size)) == 5
        tables = [RunDirectory(f"run{size}").table(name).to_pylist() for name in ("samples", "sweep", "ledger")]
        found.append([sorted(str({**row, "run": ""}) for row in table) for table in tables])
        assert "error" in str(tables) and len({row["sample"] for row in tables[0]}) >= 9
    assert found[0] == found[1] == found[2]


def test_a_scenario_that_has_errors_alone_has_a_row(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.py").write_text(AT_SOME.replace("(a.mean(1) > 0.4) & (", "(a.mean(1) > -9) & ("))
    whole = "a@linf:0.2 + b@missing"
    assert (
        run(monkeypatch, *COMMAND, "--model", "mine.py:missing", "--scenario", "a@linf:0.2", "--scenario", whole) == 5
    )
    assert any(line.split() == [*whole.split(), "-"] for line in capsys.readouterr().out.splitlines())
