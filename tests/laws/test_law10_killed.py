"""Law 10: killing a run at any moment and starting it again gives the ledger of an uninterrupted
run.
"""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.commands.filecheck import file_faults
from harness.run.directory import RunDirectory
from harness.storage.tensorfile import as_bytes, from_bytes

COMMAND = [
    sys.executable,
    "-m",
    "harness",
    "evaluate",
    "--model",
    "concat",
    "--samples",
    "20",
    "--batch-size",
    "4",
    "--out",
]


def ledger(out: str) -> list[dict[str, Any]]:
    return sorted(RunDirectory(out).table("ledger").to_pylist(), key=lambda row: (row["sample"], row["scenario"]))


@pytest.mark.parametrize("parts", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_resumed_equals_uninterrupted(elsewhere: Path, parts: int) -> None:
    process = subprocess.Popen([*COMMAND, "killed"], stdout=subprocess.DEVNULL)
    while len(list(elsewhere.glob("killed/ledger/*.parquet"))) < parts and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    (elsewhere / "killed" / "samples" / "orphan.parquet").write_bytes(b"a part whose cell never finished")
    subprocess.run([*COMMAND[:-1], "--batch-size", "8", "--out", "killed"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*COMMAND, "whole"], check=True, stdout=subprocess.DEVNULL)
    assert ledger("killed") == ledger("whole")
    assert RunDirectory("killed").table("samples").num_rows == 20


LONGER = 1.1  # after each kill, the time of the next process, until one gets through
KILLS = 100
TOY = """
import torch
from harness.tasks import Task
class Linear(torch.nn.Module):
    def forward(self, inputs, present=None):
        evidence = inputs["a"].mean(1) + 0.1 * inputs["b"].mean(1)
        return torch.stack([-evidence, evidence], dim=1)
def build(task):
    return Linear()
def task():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    side = 2.0 * labels[:, None] - 1
    a, b = side + torch.randn(60, 6, generator=generator), torch.randn(60, 4, generator=generator)
    return Task.from_arrays({"a": a, "b": b}, labels)
"""


def evaluated(folder: str, out: str, **changed: Any) -> None:
    """In a process of its own, which may be killed."""
    import torch
    from rich.console import Console

    from harness.commands.evaluate import evaluate
    from harness.run.config import Evaluation

    torch.set_num_threads(1)
    os.chdir(folder)
    options: dict[str, Any] = {
        "task": "toy.py:task",
        "model": ("toy.py:build",),
        "scenario": ("a@linf:0.5",),
        "samples": 10,
        "batch_size": 2,
        "search": "fast",
        "repeats": 1,
        "schedule": ("mcar:0,0.5",),
        "witnesses": "all",
        "trust": False,
        "out": out,
        **changed,
    }
    assert evaluate(Evaluation(**options), Console(quiet=True)) == 0


CHECKED = {"trust": True, "attributions": 3}
SHARDS = ("shard-1", "shard-2")


def checked(folder: str, out: str) -> None:
    """The same, then the checks and attributions, which take most of its time."""
    evaluated(folder, out, **CHECKED, samples=4)


def merged(folder: str, out: str) -> None:
    """The shards of one run, which are made if they are not there, put together, checked and
    attributed.
    """
    import torch
    from rich.console import Console

    from harness.commands.merge import merge

    torch.set_num_threads(1)
    os.chdir(folder)
    for at, shard in enumerate(SHARDS, 1):
        if not Path(shard).is_dir():
            evaluated(folder, shard, **CHECKED, samples=12, shard=f"{at}/2")
    assert merge(out, SHARDS, Console(quiet=True), ("toy.py",)) == 0


def everything(out: Path) -> dict[str, Any]:
    """All contents of a run: rows of tables in one order, flags, tensors and description."""
    directory = RunDirectory(str(out))
    assert file_faults(directory) == []
    tables = {name: directory.table(name).to_pylist() for name in ("samples", "ledger", "sweep", "attributions")}
    held: dict[str, Any] = {
        name: sorted(rows, key=lambda row: [str(value) for value in row.values()]) for name, rows in tables.items()
    }
    for file in ("attributions", "witnesses"):
        held[f"{file}, tensors"] = {
            (key, str(x.dtype), tuple(x.shape), as_bytes(x))
            for part in directory.listing(file)
            if part.endswith(".safetensors")
            for key, x in from_bytes(directory.read(f"{file}/{part}")).items()
        }
    described = directory.describe().content()
    return {
        **held,
        "described": {**described, "config": {**described["config"], "out": ""}},
        "trust": directory.notes.trust(),
    }


@pytest.mark.parametrize(
    ("work", "kills"),
    [
        (evaluated, 12),
        (checked, 6),
        (merged, 6),
        pytest.param(evaluated, 100, marks=pytest.mark.slow),
        pytest.param(checked, 100, marks=pytest.mark.slow),
        pytest.param(merged, 100, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments(tmp_path: Path, work: Callable[[str, str], None], kills: int) -> None:
    """Each run is killed again and again until it is through; then it is as one that was left
    alone.
    """
    (tmp_path / "toy.py").write_text(TOY)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["harness.commands.evaluate", "attacks.presets", "attacks.apgd", "attacks.fmn", "pyarrow.dataset", "pandas"]
    )
    draw, done, finished = random.Random(0), 0, 0

    def started(out: str) -> Any:
        process = context.Process(target=work, args=(str(tmp_path), out))
        process.start()
        return process

    for out in ("warm", "whole"):
        begun = time.monotonic()
        process = started(out)
        process.join()
        assert process.exitcode == 0
    lasted, expected = time.monotonic() - begun, everything(tmp_path / "whole")
    window = lasted
    while done < kills:
        process = started("killed")
        process.join(draw.uniform(0.02, window))
        if process.is_alive():
            process.kill()
            process.join()
        done += process.exitcode == -signal.SIGKILL
        # the machine may have more to do than when it was measured
        window = lasted if process.exitcode == 0 else window * LONGER
        if process.exitcode == 0:
            finished += 1
            assert everything(tmp_path / "killed") == expected
            shutil.rmtree(tmp_path / "killed")
        else:
            assert process.exitcode == -signal.SIGKILL
    process = started("killed")
    process.join()
    assert process.exitcode == 0 and everything(tmp_path / "killed") == expected
    assert finished >= (kills >= KILLS), "no run ever got through between two kills"
