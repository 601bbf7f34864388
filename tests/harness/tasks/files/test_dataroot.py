"""The places of data sets, and the message when they are missing."""

import json
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.tasks.files.dataroot import VARIABLE, NoData, data_path, data_root, use

TASK = """
import torch
from harness.tasks import Task
from harness.tasks.files.dataroot import data_path
def task():
    scale = float(data_path("toys", "scale.txt").read_text())
    x = scale * (torch.arange(60) % 2 * 2.0 - 1)[:, None].repeat(1, 3)
    return Task.from_arrays({"image": x}, torch.arange(60) % 2, name="toy", ranges={"image": (-5, 5)})
class Model(torch.nn.Module):
    def forward(self, inputs, present=None):
        return torch.stack([-inputs["image"].mean(1), inputs["image"].mean(1)], 1)
def build(task):
    return Model()
"""
EVALUATE = [
    "evaluate",
    "--task",
    "my.py:task",
    "--model",
    "my.py:build",
    "--samples",
    "4",
    "--search",
    "fast",
    "--no-trust",
    "--out",
    "run",
]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No data folder is named; a test's folder is forgotten after it."""
    monkeypatch.setenv(VARIABLE, "")


@pytest.mark.usefixtures("unset")
def test_the_first_file_there_is_counts(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "second").touch()
    use(None)
    assert data_root() is None
    use(str(tmp_path))
    assert data_path("mnist", "first", "second") == tmp_path / "mnist" / "second"


@pytest.mark.usefixtures("unset")
def test_absent_data_is_one_sentence_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(
        NoData, match=r"name it with --data-root or ROBUSTNESS_DATA.*harness\.tasks\.download mnist --data-root FOLDER"
    ):
        data_path("mnist", "train.gz")
    use(str(tmp_path))
    with pytest.raises(NoData) as error:
        data_path("mnist", "a.gz", "b.gz")
    said = str(error.value)
    assert (
        f"lacks a.gz or b.gz in {tmp_path / 'mnist'}" in said
        and f"harness.tasks.download mnist --data-root {tmp_path}" in said
    )


@pytest.mark.usefixtures("unset")
def test_the_flag_reaches_every_verb_that_loads_a_task(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "my.py").write_text(TASK)
    (elsewhere / "data" / "toys").mkdir(parents=True)
    (elsewhere / "data" / "toys" / "scale.txt").write_text("0.5")
    assert run(monkeypatch, *EVALUATE) == 2
    assert run(monkeypatch, "train", "--task", "my.py:task", "--model", "concat") == 2
    assert capsys.readouterr().err.count("error: data set 'toys' (scale.txt) needs a data folder") == 2
    assert run(monkeypatch, *EVALUATE, "--data-root", "data") == 0
    assert json.loads((elsewhere / "run" / "run.json").read_text())["config"]["data_root"] == "data"
    monkeypatch.setenv(VARIABLE, "")
    assert run(monkeypatch, "verify", "run", "--code", "my.py") == 0  # the run has the folder of its data
    assert run(monkeypatch, "verify", "run", "--code", "my.py", "--data-root", "nowhere") == 2
    (elsewhere / "data").rename(elsewhere / "moved")
    assert run(monkeypatch, *EVALUATE, "--data-root", "moved") == 0  # it is the same run
