"""The folder of a command, the spelling of a path, and effects of a user's file on the process do
not change a number.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from attacks.errors import BadInput
from harness.references.userfile import Defaults
from harness.run.config import Evaluation, dump, resolve
from harness.run.directory import RunDirectory
from harness.storage.files import path_of
from harness.storage.yamlfile import loaded, written
from tests.fuzz.commandline import EVALUATE, GATES, MINE, carried_out

SETTINGS = {
    "nothing": "",
    "double precision": "torch.set_default_dtype(torch.float64)",
    "half precision": "torch.set_default_dtype(torch.float16)",
    "another device": "torch.set_default_device('meta')",
    "no gradients": "torch.set_grad_enabled(False)",
    "all of it": (
        "torch.set_default_dtype(torch.float64); torch.set_default_device('meta'); torch.set_grad_enabled(False)"
    ),
}
WHERE = {
    "while it is read": "{}",
    "when it builds": "def build(task):\n    {}\n    return Linear()",
    "when it answers": "Linear.before = {!r}",
}
NET = """
import torch
class Linear(torch.nn.Module):
    before = ""
    def forward(self, inputs, present=None):
        exec(self.before)
        evidence = inputs["a"].mean(1) + 0.3 * inputs["b"].mean(1)
        return torch.stack([-evidence, evidence], dim=1)
def build(task): return Linear()
"""


@pytest.fixture
def here(elsewhere: Path) -> Path:
    (elsewhere / "mine.py").write_text(MINE)
    (elsewhere / "gates.yaml").write_text(GATES)
    return elsewhere


def numbers(out: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of a run, without columns that differ with the name of the file."""
    drop = {"run", "model"}
    tables = {name: RunDirectory(out).table(name).to_pylist() for name in ("samples", "sweep", "ledger")}
    return {
        name: sorted(({k: v for k, v in row.items() if k not in drop} for row in rows), key=str)
        for name, rows in tables.items()
    }


# a model may have no gradients: its search differs
MODELS_OWN = {("no gradients", "when it answers"), ("all of it", "when it answers")}


@pytest.mark.parametrize(("setting", "where"), [each for each in product(SETTINGS, WHERE) if each not in MODELS_OWN])
def test_what_a_users_file_sets_of_torch_changes_no_number(here: Path, setting: str, where: str) -> None:
    before = Defaults.now()
    swept = ("--schedule", "mcar:0,0.5", "--no-trust")
    (here / "plain.py").write_text(NET)
    (here / "sets.py").write_text(f"{NET}\n{WHERE[where].format(SETTINGS[setting] or 'pass')}\n")
    for name in ("plain", "sets"):
        assert carried_out(*EVALUATE, *swept, "--model", f"{name}.py:build", "--out", name)[0] == 0
    assert Defaults.now() == before
    assert numbers("plain") == numbers("sets")


def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    command = [sys.executable, "-m", "harness", "report", "run"]
    shell = f"cd {place} && rmdir {place} && exec {' '.join(command)}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: the current folder no longer exists"), done.stderr


WRITES = {
    "init": ("init", "{}"),
    "evaluate": (*EVALUATE, "--schedule", "none", "--no-trust", "--out", "{}"),
    "report": ("report", "run", "--html", "{}"),
    "markdown": ("report", "run", "--markdown", "{}"),
    "gate": ("gate", "run", "--json", "{}"),
    "bless": ("bless", "run", "--out", "{}"),
    "train": ("train", "--task", "mine.py:task", "--model", "mine.py:learns", "--epochs", "1", "--out", "{}"),
}
PLACES = {
    "an overlong name": "x" * 300,
    "an overlong path": "x/" * 3000 + "x",
    "an archive that is none": "zip://x.zip",
    "a protocol that nobody knows": "nowhere://x",
    "a NUL": "a\0b",
    "a link to itself": "loop",
    "the home of nobody": "~nobody-of-this-name/x",
    "half a surrogate": "\ud800",
    "below a file": "mine.py/x",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        (folder / "mine.py").write_text(MINE)
        (folder / "gates.yaml").write_text(GATES.splitlines()[0] + "\n" + GATES.splitlines()[1] + "\n")
        (folder / "loop").symlink_to("loop")
        assert carried_out(*EVALUATE, "--schedule", "none", "--no-trust", "--out", "run")[0] == 0
        yield folder


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("verb", WRITES)
def test_a_place_that_cannot_be_written_is_one_sentence(ran: Path, verb: str, place: str) -> None:
    code, said = carried_out(*(word.format(PLACES[place]) for word in WRITES[verb]))
    assert code == 2 and said.splitlines()[-1].startswith("error: "), said


@pytest.mark.parametrize("text", ["a\0b", "~nobody-of-this-name/x", "\ud800", "loop", "loop/x"])
def test_what_is_no_path_is_refused(here: Path, text: str) -> None:
    (here / "loop").symlink_to("loop")
    with pytest.raises(BadInput, match="is not a path"):
        path_of(text)


@pytest.mark.parametrize("key", ["out", "data_root", "gates", "baseline"])
def test_a_home_in_a_file_of_settings_is_the_users(here: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "c.yaml").write_text(f"{key}: ~/x")
    assert getattr(resolve(here / "c.yaml", {}), key) == str(here / "home" / "x")


def test_a_run_in_the_users_home_is_made_and_found_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "c.yaml").write_text("out: ~/run")
    assert carried_out(*EVALUATE, "--schedule", "none", "--no-trust", "--config", "c.yaml")[0] == 0
    assert (here / "home" / "run" / "run.json").exists() and not (here / "~").exists()
    assert carried_out("report", "~/run")[0] == 0


@pytest.mark.parametrize("text", ["010", "-07", "0_1"])
def test_a_number_that_two_readers_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="octal to some readers: write it without the leading zero"):
        loaded(f"seed: {text}".encode(), "configuration c.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1:30", "1:30"), ("0o10", 8), ("0x10", 16), ("1e3", 1000.0), ("08.5", 8.5), ("1_000", 1000), ("yes", True)],
)
def test_numbers_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = loaded(f"key: {text}".encode(), "c.yaml")["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "0E0",
        "010",
        "1:30",
        "0o17",
        "1e5",
        "1_0",
        "0x1f",
        ".5",
        "null",
        "~",
        "yes",
        "2020-01-01",
        "x" * 300,
        "a: b",
        "\n",
        "#",
    ],
)
def test_a_text_that_looks_like_something_else_reads_back(here: Path, text: str) -> None:
    assert loaded(f"key: {written(text)}".encode(), "c.yaml")["key"] == text
    (here / "c.yaml").write_text(dump(Evaluation(task=text)))
    assert resolve(here / "c.yaml", {}).task == text


@pytest.fixture
def moved(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder than the one in which the run was made."""
    (here / "there" / "sub").mkdir(parents=True)
    (here / "mine.py").rename(here / "there" / "mine.py")
    monkeypatch.chdir(here / "there")
    assert carried_out(*EVALUATE, "--schedule", "none", "--no-trust", "--witnesses", "all", "--out", "run")[0] == 0
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("code", ["{}/there/mine.py", "there/mine.py", "./there/../there/mine.py", "~/there/mine.py"])
def test_a_run_of_another_folder_is_verified_by_the_place_of_its_code(
    moved: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setenv("HOME", str(moved))
    found, said = carried_out("verify", "there/run", "--code", code.format(moved))
    assert found == 0 and "re-checked" in said, said


@pytest.mark.parametrize(
    "code", [(), ("other.py",), ("there/sub/yours.py",), ("mine",), ("there/mine.py", "there/sub/mine.py")]
)
def test_other_code_than_the_runs_is_refused(moved: Path, code: tuple[str, ...]) -> None:
    (moved / "there" / "sub" / "mine.py").write_text("raise SystemExit('ran')")
    found, said = carried_out("verify", "there/run", *(word for each in code for word in ("--code", each)))
    assert found == 2 and "names code that would run here" in said, said


def test_the_environment_is_left_alone(ran: Path) -> None:
    assert "ROBUSTNESS_DATA" not in os.environ or Path(os.environ["ROBUSTNESS_DATA"]).is_absolute()
    assert torch.is_grad_enabled()
