"""Consent for one command of a process does not hold for the next."""

from pathlib import Path

import pytest

from harness.run.directory import RunDirectory
from tests.commandline import own_folder, run

COMMAND = [
    "evaluate",
    "--task",
    "my.py:MyTask",
    "--model",
    "my.py:build",
    "--samples",
    "4",
    "--search",
    "none",
    "--schedule",
    "none",
]


def test_a_file_that_was_allowed_stands_for_no_other_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    own_folder(tmp_path / "one")
    own_folder(
        tmp_path / "two",
        "\ndef build(task): return Backwards()\nclass Backwards(Linear):\n"
        "    def forward(self, inputs, present=None): return -super().forward(inputs, present)\n",
    )
    monkeypatch.chdir(tmp_path / "one")
    assert run(monkeypatch, *COMMAND, "--out", "run") == 0
    monkeypatch.chdir(tmp_path / "two")
    assert run(monkeypatch, "verify", "../one/run", "--code", str(tmp_path / "one" / "my.py")) == 0
    assert run(monkeypatch, *COMMAND, "--out", "run") == 0
    scores = [
        RunDirectory(str(tmp_path / name / "run")).table("samples").column("score").to_pylist()
        for name in ("one", "two")
    ]
    assert [1 - score for score in scores[0]] == scores[1]
