"""Law 6: on the CPU the ledger does not depend on batch size, sample order, engine, workers, shards
or units; randomness is keyed.
"""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from attacks.presets import STANDARD
from attacks.scenario import parse
from attacks.search import search
from benchmarks.oracles.linear import Linear, random_linear
from harness.commands.evaluate import evaluate
from harness.commands.merge import merge
from harness.engine.loading import Loaded
from harness.engine.objective import TaskObjective
from harness.run.config import resolve
from harness.run.directory import RunDirectory
from harness.tasks import Task


def ledger(out: Path, **flags: Any) -> list[dict[str, Any]]:
    asked = {"out": str(out), "samples": 9, "model": ("late",), "device": "cpu", **flags}
    assert evaluate(resolve(None, asked), Console(file=io.StringIO())) == 0
    return rows(out)


def rows(out: Path) -> list[dict[str, Any]]:
    return sorted(RunDirectory(str(out)).table("ledger").to_pylist(), key=lambda row: (row["sample"], row["scenario"]))


def test_batch_size_changes_nothing(elsewhere: Path) -> None:
    whole = ledger(elsewhere / "whole", batch_size=9)
    assert len(whole) == 9 * 7
    assert ledger(elsewhere / "shards", batch_size=2) == whole


SPREAD: dict[str, Any] = {"samples": 6, "device": "cpu", "search": "fast", "batch_size": 2, "trust": False}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The results of one process."""
    return ledger(tmp_path_factory.mktemp("alone") / "run", **SPREAD)


def test_workers_change_nothing(elsewhere: Path, alone: list[dict[str, Any]]) -> None:
    assert ledger(elsewhere / "two", **SPREAD, workers=2) == alone


@pytest.mark.parametrize("count", [1, 4])
def test_shards_change_nothing(elsewhere: Path, alone: list[dict[str, Any]], count: int) -> None:
    parts = [str(elsewhere / str(number)) for number in range(1, count + 1)]
    lengths = [len(ledger(Path(part), **SPREAD, shard=f"{Path(part).name}/{count}")) for part in parts]
    assert sum(lengths) == len(alone) and all(lengths)
    assert merge(str(elsewhere / "whole"), parts, Console(file=io.StringIO())) == 0
    assert rows(elsewhere / "whole") == alone


def test_ray_changes_nothing(elsewhere: Path, alone: list[dict[str, Any]]) -> None:
    """In a process of its own, which starts a Ray of its own."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SPREAD.items() if name != "trust"]
    command = [
        sys.executable,
        "-m",
        "harness",
        "evaluate",
        "--model",
        "late",
        *flags,
        "--no-trust",
        "--engine",
        "ray",
        "--out",
        "run",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert rows(elsewhere / "run") == alone


def test_outputs_do_not_depend_on_the_batch(system: Loaded, digits: Task) -> None:
    batch = digits.splits["test"].take(range(32))
    present = torch.ones(32, 3, dtype=torch.bool)
    objective = TaskObjective(system.module, digits, batch.targets, present, {})
    whole = objective.outputs(batch.inputs)
    for rows in (torch.arange(1), torch.arange(5, 10), torch.arange(31, -1, -1)):
        assert torch.equal(objective.take(rows).outputs(batch.take(rows).inputs), whole[rows])


@pytest.mark.parametrize("features", [7, 30])
def test_rows_do_not_depend_on_where_they_lie(features: int) -> None:
    """A product with few columns is where MKL, left to itself, rounds by the alignment of a row."""
    layer, x = torch.nn.Linear(features, 3, bias=False), torch.randn(64, features)
    whole = layer(x)
    for seed in range(20):
        rows = torch.randperm(64, generator=torch.Generator().manual_seed(seed))[: 8 * (seed % 7 + 1)]
        assert torch.equal(layer(x[rows]), whole[rows])


def test_sample_order_changes_nothing() -> None:
    model = random_linear(4)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    shuffled = Linear(model.weights, {name: x[order] for name, x in model.inputs.items()}, {})
    names = [f"sample {row}" for row in range(16)]
    plain = search(model.objective(), model.inputs, {}, "a@l2:0.1 + b@linf:0.1", samples=names)
    other = search(
        shuffled.objective(),
        shuffled.inputs,
        {},
        "a@l2:0.1 + b@linf:0.1",
        samples=[names[row] for row in order.tolist()],
    )
    torch.testing.assert_close(other.strength, plain.strength[order], rtol=0, atol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_units_change_nothing(norm: str) -> None:
    model, factor = random_linear(3, bounded=False), 255.0
    weights = {"a": model.weights["a"] / factor, "b": model.weights["b"], "c": model.weights["c"]}
    scaled = Linear(weights, {**model.inputs, "a": model.inputs["a"] * factor}, {})
    found = search(model.objective(), model.inputs, {}, parse(f"a@{norm}:0.1"), algorithm=STANDARD)
    other = search(scaled.objective(), scaled.inputs, {}, parse(f"a@{norm}:25.5"), algorithm=STANDARD)
    torch.testing.assert_close(other.strength, found.strength, rtol=0.02, atol=0)
