"""Merged shards equal the run without shards, and nothing else is accepted."""

from pathlib import Path
from typing import Any

import pytest

from harness.run.directory import RunDirectory
from tests.commandline import run as run_command
from tests.harness.engine.executors.linear_run import run

TABLES = ("samples", "ledger", "sweep", "attributions")


def everything(out: str) -> dict[str, Any]:
    directory = RunDirectory(out)
    tables = {
        name: sorted(directory.table(name).to_pylist(), key=lambda row: repr(list(row.values()))) for name in TABLES
    }
    held = {key: x.tolist() for tensors, _ in directory.witnesses() for key, x in tensors.items()}
    said = {key: value for key, value in directory.describe().content().items() if key not in ("config", "command")}
    return {**tables, "trust": directory.notes.trust(), "witnesses": held, "said": said}


def merged(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    return run_command(monkeypatch, "merge", *arguments, "--code", "mine.py")


@pytest.mark.usefixtures("here")
def test_the_whole_is_as_one_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows, witnesses, trust, attributions and `run.json`; merging goes on where it was killed, and
    does nothing twice.
    """
    more = ["--model", "mine.py:build", "--trust", "--attributions", "3", "--witnesses", "5"]
    assert run(monkeypatch, *more, "--out", "memory://whole") == 0
    for number in (1, 2, 3):
        assert run(monkeypatch, *more, "--shard", f"{number}/3", "--out", f"part{number}") == 0
        assert RunDirectory(f"part{number}").describe().status == f"shard {number}/3"
    assert merged(monkeypatch, "whole", "part1", "part3") == 0
    assert RunDirectory("whole").describe().status == "lacking 4 of 12 samples"
    assert "The run is lacking 4 of 12 samples: merge the missing shards" in capsys.readouterr().out
    assert {name for flags in RunDirectory("whole").notes.trust().values() for name in flags} == {"every number"}
    assert merged(monkeypatch, "part1", "part2", "part3") == 2
    assert "this is a shard of the run" in capsys.readouterr().err
    assert merged(monkeypatch, "whole", "part2", "part1") == 0
    assert everything("whole") == everything("memory://whole")
    assert merged(monkeypatch, "memory://again", "part1", "part2", "part3", "whole") == 0
    assert everything("memory://again") == everything("whole")
    assert run_command(monkeypatch, "verify", "whole", "--code", "mine.py") == 0


@pytest.mark.usefixtures("here")
def test_a_sample_in_two_runs_is_taken_once_and_errors_only_where_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With different batch sizes, cells overlap in part.

    The model that raises fails by batches of four, alone only on one sample.
    """
    model = ["--model", "mine.py:raises"]
    assert run(monkeypatch, *model, "--shard", "1/1", "--out", "fours") == 5
    assert RunDirectory("fours").describe().status == "shard 1/1, finished with errors"
    assert run(monkeypatch, *model, "--batch-size", "1", "--out", "ones") == 5
    assert merged(monkeypatch, "both", "fours", "ones") == 5
    assert RunDirectory("both").describe().status == "finished with errors"
    found, alone = everything("both"), everything("ones")
    assert found["ledger"] == alone["ledger"] and found["samples"] == alone["samples"]
    assert len({row["sample"] for row in found["ledger"] if row["status"] == "error"}) == 1
    assert "ZeroDivisionError" in next(Path("both/errors").iterdir()).read_text()


@pytest.mark.usefixtures("here")
def test_more_shards_than_samples_leave_some_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--model", "mine.py:build", "--shard", "13/13", "--out", "part") == 0
    assert merged(monkeypatch, "whole", "part") == 0
    assert RunDirectory("whole").describe().status == "lacking 12 of 12 samples"


REFUSED = {
    (
        "whole",
        "part",
        "other",
    ): "other and part are not parts of one run: part is of another configuration (it differs in seed)",
    ("part", "part"): "this is one of the runs to merge",
    ("other", "part"): "--out other holds a run of another configuration (it differs in seed)",
    ("whole", "nothing"): "nothing is not a run",
    ("stuff", "part"): "holds files that are not part of a run",
}


@pytest.mark.usefixtures("here")
def test_what_cannot_be_merged_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for out, seed in (("part", "0"), ("other", "1")):
        assert run(monkeypatch, "--model", "mine.py:build", "--shard", "1/3", "--seed", seed, "--out", out) == 0
    Path("stuff").mkdir()
    Path("stuff", "mine.txt").touch()
    for words, said in REFUSED.items():
        assert merged(monkeypatch, *words) == 2
        assert said in capsys.readouterr().err
    Path("mine.py").write_text(Path("mine.py").read_text().replace("0.3", "0.4"))
    assert merged(monkeypatch, "whole", "part") == 2
    assert (
        "run part began with another model 'mine.py:build' (other code, attributes or files that it reads;"
        " it answers 16 of 16 samples" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard", "0/4"], "shard = '0/4': give a part and how many there are, from 1/4 to 4/4"),
        (["--shard", "5/4"], "give a part"),
        (["--shard", "half"], "give a part"),
        (["--shard", "1/2", "--gates", "gates.yaml"], "merge its shards, then gate the merged run"),
        (["--shard", "1/2", "--scenario", "a@universal:0.1"], "leave --shard out"),
    ],
)
def test_shards_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert run(monkeypatch, "--model", "mine.py:build", *words, "--out", "part") == 2
    assert said in capsys.readouterr().err
