"""Faults while a run is written: a full disk, a second process, a bit that flips."""

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
from tests.commandline import run
from tests.harness.run.faulty import COMMAND, rows


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


def test_a_second_process_reports_the_first_and_stops(
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
