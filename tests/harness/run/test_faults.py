"""Faults while a run is written: a full disk, a second process, a model that hangs, a bit that
flips.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from attacks.errors import BadInput
from harness.models import checkpoint
from harness.run.directory import RunDirectory
from harness.storage.files import PARTIAL, write_whole
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

class Nan(Linear):
    def forward(self, inputs, present=None):
        outputs = super().forward(inputs, present)
        return torch.where((inputs["a"] > 90).any(1, keepdim=True), float("nan"), outputs)

class Raises(Linear):
    def forward(self, inputs, present=None):
        if bool((inputs["a"] > 90).any()):
            raise ZeroDivisionError("a fault of the model")
        return super().forward(inputs, present)

class Ends(Linear):
    def forward(self, inputs, present=None):
        if bool((inputs["a"] > 90).any()):
            raise SystemExit(0)
        return super().forward(inputs, present)

class Slow(Linear):
    def forward(self, inputs, present=None):
        time.sleep(0.005)
        return super().forward(inputs, present)

def slow(task): return Slow()
def nan(task): return Nan()
def raises(task): return Raises()
def ends(task): return Ends()
def build(task): return Linear()
def hangs(task): return Hangs()

def task():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(40, 4, generator=generator)
    a[33, 0] = 99
    return Task.from_arrays({"a": a}, torch.arange(40) % 2, splits=["train"] * 20 + ["val"] * 8 + ["test"] * 12)
"""
COMMAND = [
    "evaluate",
    "--task",
    "mine.py:task",
    "--search",
    "fast",
    "--samples",
    "all",
    "--batch-size",
    "4",
    "--no-trust",
    "--out",
    "run",
]


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
    """The third write of a table fails; then there is room again, and the same command goes on to
    the same ledger.
    """
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


def test_a_second_process_says_so_and_stops(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first is killed in the end: no lock outlives its process."""
    hold = (
        "import time; from harness.storage.folder import Storage; d = Storage('run'); d.claim(); print('held',"
        " flush=True); "
    )
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


@pytest.mark.parametrize("kept", ["none", "1", "3", "11", "12", "all"])
@pytest.mark.parametrize("model", ["raises", "hangs"])
def test_a_sample_that_is_an_error_takes_no_other_samples_place_among_the_witnesses(
    here: Path, monkeypatch: pytest.MonkeyPatch, model: str, kept: str
) -> None:
    """One sample is an error, or those of a whole cell."""
    limit = ["--cell-limit", "1s"] if model == "hangs" else []
    assert run(monkeypatch, *COMMAND, "--model", f"mine.py:{model}", "--witnesses", kept, *limit) == 5
    assert run(monkeypatch, "verify", "run", "--files") == 0


@pytest.mark.parametrize("table", ["samples", "sweep", "ledger"])
def test_a_flipped_bit_is_found_wherever_it_is(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    """Every bit of 200 spread over the file: read as it was, or named with its file; never another
    number.
    """
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


def test_an_interrupted_run_goes_on_to_the_same_ledger(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a parent that starts the tests in the background may ignore it
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-m", "harness", *COMMAND, "--model", "mine.py:slow"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=heeding
    ) as process:
        assert process.stderr is not None
        while not list(here.glob("run/ledger/*.parquet")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130 and said == "interrupted; the same command goes on where it stopped\n"
    assert 0 < len({row["sample"] for row in rows()}) < 12, "it was interrupted on its way"
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:slow") == 0
    assert run(monkeypatch, *COMMAND[:-1], "whole", "--model", "mine.py:slow") == 0
    strip = [[{**row, "run": ""} for row in rows(out)] for out in ("run", "whole")]
    assert strip[0] == strip[1]


def test_a_cell_done_twice_leaves_the_same_bytes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = [*COMMAND, "--model", "mine.py:build", "--witnesses", "all"]
    assert run(monkeypatch, *again) == 0
    tables = [path for path in (here / "run").rglob("*") if path.suffix in (".parquet", ".safetensors")]
    before = {path: path.read_bytes() for path in tables}
    for part in (here / "run" / "ledger").iterdir():
        part.unlink()
    assert run(monkeypatch, *again) == 0
    assert {path: path.read_bytes() for path in tables} == before and len(before) > 6


@pytest.mark.parametrize("table", ["samples", "sweep", "ledger"])
def test_a_part_cut_off_anywhere_is_named(here: Path, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 0
    part = next((here / "run" / table).glob("*.parquet"))
    sound = part.read_bytes()
    for step in range(100):
        part.write_bytes(sound[: step * len(sound) // 100])
        with pytest.raises(
            BadInput, match=f"{table}/{part.name} cannot be read .* remove that file and run the same command"
        ):
            RunDirectory("run").table(table)


def test_a_folder_in_which_nothing_can_be_removed_is_one_sentence(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resuming a run removes the files of a killed cell; meanwhile the disk has become
    read-only.
    """
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 0
    next((here / "run" / "ledger").iterdir()).unlink()

    def refuse(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr("fsspec.implementations.local.LocalFileSystem.rm", refuse)
        assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 2
    assert "--out run cannot be written: Read-only file system; mend that and run" in capsys.readouterr().err
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 0


def test_what_was_there_stays_where_a_write_fails(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports, checkpoints, verdicts, baselines: half of one never takes the place of a whole
    one.
    """
    place = here / "precious"
    place.write_text("whole")

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(place, b"half")
    assert place.read_text() == "whole" and [each.name for each in here.iterdir() if "precious" in each.name] == [
        "precious"
    ]
    model = torch.nn.Linear(2, 2)
    with pytest.raises(BadInput, match=r"checkpoint .* cannot be written: No space left on device; fix this"):
        checkpoint.save(here / "x.safetensors", model, {})
    assert not list(here.glob("x.*"))


def test_a_device_is_written_to_as_it_is_and_a_link_stays_one(here: Path) -> None:
    (here / "there").write_text("old")
    (here / "link").symlink_to("there")
    write_whole(here / "link", b"new")
    write_whole(Path("/dev/null"), b"new")
    assert (here / "link").is_symlink() and (here / "there").read_text() == "new" and Path("/dev/null").is_char_device()


def test_nothing_half_written_is_left_to_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *COMMAND, "--model", "mine.py:build") == 0
    assert not list((here / "run").rglob(f"*{PARTIAL}"))


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
