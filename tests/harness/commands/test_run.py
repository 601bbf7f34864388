"""A run from start to end with failures: memory, NaN, damaged files; and options that must not
change a number.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.run.directory import RunDirectory
from tests.commandline import own_folder, run

TOY = [
    "evaluate",
    "--task",
    "my.py:MyTask",
    "--samples",
    "12",
    "--schedule",
    "mcar:0",
    "--scenario",
    "image@linf:0.1 + sensor@l2:0.5",
]
MODELS = """
class Small(Linear):
    def forward(self, inputs, present=None):
        if len(inputs["image"]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(inputs, present)
class Spoils(Linear):
    def forward(self, inputs, present=None):
        outputs = super().forward(inputs, present)
        present[:] = False
        return outputs
class NanUnderAttack(Linear):
    def forward(self, inputs, present=None):
        outputs = super().forward(inputs, present)
        return outputs * float("nan") if torch.is_grad_enabled() else outputs
class Infinite(Linear):
    def forward(self, inputs, present=None):
        return torch.full((len(inputs["image"]), 2), float("inf"))
def small(task): return Small()
def spoils(task): return Spoils()
def nan_under_attack(task): return NanUnderAttack()
def infinite(task): return Infinite()
"""


@pytest.fixture
def toy(elsewhere: Path) -> Path:
    own_folder(elsewhere, MODELS)
    return elsewhere


def rows(out: str, table: str = "ledger") -> list[dict[str, Any]]:
    """Without the parts that differ by the model's name."""
    found = RunDirectory(out).table(table).to_pylist()
    kept = [{key: value for key, value in row.items() if key not in ("run", "model")} for row in found]
    return sorted(
        kept, key=lambda row: [str(row[key]) for key in ("sample", "scenario" if table == "ledger" else "name")]
    )


def test_out_of_memory_halves_the_batch(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *TOY, "--model", "my.py:small", "--out", "small") == 0
    assert run(monkeypatch, *TOY, "--model", "my.py:build", "--out", "whole") == 0
    assert rows("small") == rows("whole")


def test_a_model_may_write_into_present(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *TOY, "--model", "my.py:spoils", "--out", "spoils") == 0
    assert run(monkeypatch, *TOY, "--model", "my.py:build", "--out", "whole") == 0
    assert rows("spoils") == rows("whole")


def test_nan_under_attack_is_an_error_and_no_score(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *TOY, "--model", "my.py:nan_under_attack", "--model", "my.py:build", "--out", "nan") == 5
    found = RunDirectory("nan").table("ledger").to_pylist()
    assert {(row["model"], row["status"]) for row in found} == {
        ("my.py:nan_under_attack", "error"),
        ("my.py:build", "ok"),
    }
    assert "answers NaN" in next((toy / "nan" / "errors").iterdir()).read_text()


def test_infinite_logits_are_refused(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *TOY, "--model", "my.py:infinite", "--out", "inf") == 2
    assert "answers NaN or infinity" in capsys.readouterr().err


@pytest.mark.parametrize("table", ["samples", "sweep", "ledger"])
def test_a_lost_part_is_done_again_and_a_damaged_one_named(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    again = [*TOY, "--model", "my.py:build", "--batch-size", "6", "--out", "run"]
    assert run(monkeypatch, *again) == 0
    before = [rows("run", name) for name in ("samples", "sweep", "ledger") if name != "samples"]
    part = next((toy / "run" / table).iterdir())
    part.write_bytes(part.read_bytes()[:50])
    for verb in (again, ["report", "run"]):
        assert run(monkeypatch, *verb) == 2
    assert f"{table}/{part.name} cannot be read" in capsys.readouterr().err
    part.unlink()
    assert run(monkeypatch, *again) == 0
    assert [rows("run", name) for name in ("sweep", "ledger")] == before
    assert RunDirectory("run").table("samples").num_rows == 12


def test_a_directory_killed_in_its_first_write_is_taken_up(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (toy / "run").mkdir()
    (toy / "run" / "run.json.partial").write_text("{")
    assert run(monkeypatch, *TOY, "--model", "my.py:build", "--out", "run") == 0


@pytest.mark.parametrize("content", ["[]", "{}", "nothing", '{"format": 2, "run": "x"}'])
def test_a_foreign_run_file_is_one_sentence(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (toy / "run").mkdir()
    (toy / "run" / "run.json").write_text(content)
    assert run(monkeypatch, "report", "run") == 2
    assert "is not a run" in capsys.readouterr().err


def test_a_condition_named_twice_is_swept_once(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = ["--schedule", "fixed(image):0.5,0.5,1", "--schedule", "mcar:0"]
    assert run(monkeypatch, *TOY, *twice, "--model", "my.py:build", "--out", "run") == 0
    keys = [
        (row["sample"], row["name"], row["level"], row["repeat"])
        for row in RunDirectory("run").table("sweep").to_pylist()
    ]
    assert len(set(keys)) == len(keys)


def test_a_search_in_bf16_is_verified_in_float32(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *TOY, "--model", "my.py:build", "--precision", "bf16", "--out", "bf16") == 0
    assert run(monkeypatch, *TOY, "--model", "my.py:build", "--out", "whole") == 0
    half, full = ([row["strength"] for row in rows(out)] for out in ("bf16", "whole"))
    assert half == pytest.approx(full, rel=0.1)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile's own inspection of the traced code
def test_a_compiled_search_is_verified_by_the_model_itself(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = []

    def program(function: Callable[..., object], dynamic: bool) -> Callable[..., object]:
        programs.append(function)
        return torch.compile(function, dynamic=dynamic, backend="eager")  # traced, without a C++ compiler's minute

    monkeypatch.setattr("harness.engine.compiled.torch", SimpleNamespace(compile=program, Tensor=torch.Tensor))
    assert run(monkeypatch, *TOY, "--model", "my.py:build", "--compile", "--out", "compiled") == 0
    assert run(monkeypatch, *TOY, "--model", "my.py:build", "--out", "whole") == 0
    twin, plain = ([row["strength"] for row in rows(out)] for out in ("compiled", "whole"))
    assert twin == pytest.approx(plain, rel=0.02)
    assert programs


def test_a_budget_always_gets_something_done(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        assert (
            run(monkeypatch, *TOY, "--model", "my.py:build", "--batch-size", "4", "--budget", "0.001s", "--out", "run")
            == 0
        )
    assert RunDirectory("run").describe().status == "complete"


def test_where_nothing_is_attacked_nothing_is_called_robust(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--task",
        "my.py:MyTask",
        "--model",
        "my.py:build",
        "--samples",
        "6",
        "--search",
        "none",
        "--no-trust",
        "--out",
        "run",
    ]
    assert run(monkeypatch, "evaluate", *arguments) == 0
    assert run(monkeypatch, "report", "run") == 0
    said = capsys.readouterr().out
    assert "Nothing was attacked" in said
    assert "robust score" not in said and "oracle" not in said
    assert "robust score</" not in (toy / "run" / "report.html").read_text()
