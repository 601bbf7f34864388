"""Law 9: every stored witness passes `verify` on the whole model, and a false one is found."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.commands.verify import recheck
from harness.run.directory import RunDirectory
from harness.run.schema import LEDGER
from harness.storage.parquet import decoded, encoded
from tests.commandline import own_folder, run

Tensors = dict[str, torch.Tensor]


DRAWN = """
class Net(torch.nn.Linear):
    def forward(self, inputs, present=None):
        return super().forward(inputs["image"])
def drawn(task): return Net(16, 2)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose witnesses are stored."""
    folder = tmp_path_factory.mktemp("witnesses")
    arguments = [
        "--samples",
        "6",
        "--model",
        "mean",
        "--witnesses",
        "all",
        "--scenario",
        "image@linf:1.6 + audio@l2:0.3 + text@missing",
    ]
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        assert run(patch, "evaluate", *arguments, "--schedule", "mcar:0", "--out", "run") == 0
    return folder / "run"


@pytest.fixture
def stored(made: Path, elsewhere: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made, elsewhere / "run"))


def test_stored_witnesses_verify(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [row for row in RunDirectory("run").table("ledger").to_pylist() if row["strength"] < float("inf")]
    claims = list(recheck(RunDirectory("run")))
    assert len(claims) == len(found) > 10
    assert all(holds for _, holds in claims)
    assert run(monkeypatch, "verify", "run") == 0
    assert f"{len(found)} witnesses re-checked, {len(found)} hold" in capsys.readouterr().out


def test_a_build_is_seeded_as_it_was(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_folder(elsewhere, DRAWN)
    toy = [
        "--task",
        "my.py:MyTask",
        "--model",
        "my.py:drawn",
        "--seed",
        "3",
        "--samples",
        "6",
        "--search",
        "fast",
        "--out",
        "run",
    ]
    assert run(monkeypatch, "evaluate", *toy) == 0
    assert run(monkeypatch, "verify", "run", "--code", "my.py") == 0


def moved(x: torch.Tensor) -> torch.Tensor:
    return (x + 0.01).clamp(max=1)


@pytest.mark.parametrize("spoil", [torch.zeros_like, moved, lambda x: x[..., :1].contiguous()])
def test_a_false_witness_exits_3(
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    part = next((stored / "witnesses").iterdir())
    tensors = load_file(part)
    key = next(name for name in tensors if name.endswith("|image"))
    save_file({**tensors, key: spoil(tensors[key])}, part)
    assert run(monkeypatch, "verify", "run") == 3
    assert f"does not hold: mean, sample {key.split('|')[1]}" in capsys.readouterr().out


def first(value: object) -> Callable[[list[Any]], list[Any]]:
    return lambda column: [value, *column[1:]]


OTHER_SAMPLES: list[tuple[str, Callable[[list[Any]], list[Any]], str]] = [
    ("target", lambda column: [str(9 - int(column[0])), *column[1:]], "has target"),
    ("target", lambda column: column[::-1], "has target"),
    ("hash", first("0" * 16), "has hash '0000000000000000' there, but task 'digits' has '"),
    ("group", first("nobody"), "has group 'nobody' there, but task 'digits' has '"),
    ("sample", first("stranger"), "task 'digits' does not have this sample"),
]


@pytest.mark.parametrize(("column", "change", "why"), OTHER_SAMPLES)
def test_samples_that_are_not_the_tasks_are_refused(
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    column: str,
    change: Callable[[list[Any]], list[Any]],
    why: str,
) -> None:
    """Also where the run has one model, with which nothing in the run itself could disagree."""
    part = next((stored / "samples").iterdir())
    rows = decoded(part.read_bytes())
    values = pa.array(change(rows.column(column).to_pylist()), rows.schema.field(column).type)
    part.write_bytes(encoded(rows.set_column(rows.column_names.index(column), column, values)))
    assert run(monkeypatch, "verify", "run") == 2
    assert why in (said := capsys.readouterr().err) and "run run is damaged: sample " in said


def lose_one(stored: Path) -> None:
    part = next((stored / "witnesses").iterdir())
    tensors = load_file(part)
    save_file(dict(list(tensors.items())[1:]), part)


def lose_all(stored: Path) -> None:
    for part in (stored / "witnesses").iterdir():
        part.unlink()


@pytest.mark.parametrize("lose", [lose_one, lose_all])
def test_a_lost_witness_exits_3(stored: Path, monkeypatch: pytest.MonkeyPatch, lose: Callable[[Path], None]) -> None:
    lose(stored)
    assert run(monkeypatch, "verify", "run") == 3


def test_a_strength_that_nothing_proves_exits_3(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = next((stored / "ledger").iterdir())
    rows = pq.read_table(part).to_pylist()
    rows[-1] |= {"strength": 0.5, "witness": ""}
    pq.write_table(pa.Table.from_pylist(rows, LEDGER), part)
    assert run(monkeypatch, "verify", "run") == 3


def test_samples_without_kept_witnesses_are_not_checked(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "--samples",
        "6",
        "--model",
        "mean",
        "--witnesses",
        "2",
        "--scenario",
        "image@linf:1.6",
        "--schedule",
        "mcar:0",
    ]
    assert run(monkeypatch, "evaluate", *arguments, "--search", "fast", "--no-trust", "--out", "run") == 0
    assert {claim.sample for claim, _ in recheck(RunDirectory("run"))} <= set(kept_names("run"))
    assert run(monkeypatch, "verify", "run") == 0


def kept_names(folder: str) -> list[str]:
    return [key.split("|")[1] for part in (Path(folder) / "witnesses").iterdir() for key in load_file(part)]
