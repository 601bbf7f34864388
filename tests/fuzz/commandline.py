"""A folder to stand in that holds something of every kind, and command lines carried out in this
process.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from unittest.mock import patch

from harness.cli import main
from harness.references.userfile import Defaults

MINE = """
import torch
from harness.tasks import Task

class Linear(torch.nn.Module):
    def forward(self, inputs, present=None):
        evidence = inputs["a"].mean(1) + 0.3 * inputs["b"].mean(1)
        return torch.stack([-evidence, evidence], dim=1)

class Learns(Linear):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
    def forward(self, inputs, present=None):
        return self.scale * super().forward(inputs, present)

def build(task): return Linear()
def learns(task): return Learns()

def task():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    side = 2.0 * labels[:, None] - 1
    inputs = {"a": side + torch.randn(60, 6, generator=generator), "b": torch.randn(60, 4, generator=generator)}
    return Task.from_arrays(inputs, labels, samples=[f"{'|/'[row % 2]}{row}|'\\"\\n" for row in range(60)])
"""
CHEAP = ("--search", "fast", "--samples", "4", "--batch-size", "4", "--repeats", "1", "--limit", "2", "--budget", "20s")
EVALUATE = ("evaluate", "--task", "mine.py:task", "--model", "mine.py:build", *CHEAP)
CODES = {0, 1, 2, 3, 4, 5, 130}
GATES = "gates:\n- {model: 'mine.py:build', min: 0.1}\n- {model: 'mine.py:build', scenario: 'a@linf:0.5', min: 0.1}\n"


class Unforeseen(AssertionError):
    """A command ended in a traceback, or with an unknown exit code."""


def carried_out(*arguments: str) -> tuple[int, str]:
    """A command's exit code and its output.

    Raises:
        Unforeseen: it ended in an exception, or printed a traceback.
    """
    said, defaults, environment = io.StringIO(), Defaults.now(), dict(os.environ)
    with (
        patch.object(sys, "argv", ["harness", *arguments]),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        except Exception as error:
            raise Unforeseen(f"{arguments} ended in {type(error).__name__}: {error}") from error
        finally:
            os.environ.clear()
            os.environ.update(environment)
    if Defaults.now() != defaults or "Traceback" in said.getvalue() or code not in CODES - {1}:
        raise Unforeseen(f"{arguments} ended with {code}: {said.getvalue()[-2000:]}")
    return code, said.getvalue()


def furnished(folder: Path) -> None:
    """Make the folder: a run with all possible parts, a task and models, broken files, and paths
    that are not files.
    """
    (folder / "mine.py").write_text(MINE)
    (folder / "gates.yaml").write_text(GATES)
    (folder / "broken.py").write_text("def build(task:\n")
    (folder / "ends.py").write_text("import sys\nsys.exit(7)\n")
    (folder / "defaults.py").write_text(f"import torch\ntorch.set_default_dtype(torch.float64)\n{MINE}")
    (folder / "binary.yaml").write_bytes(bytes(range(256)))
    (folder / "empty").touch()
    (folder / "folder" / "below").mkdir(parents=True)
    (folder / "folder" / "locked").write_text("task: digits")
    (folder / "folder" / "locked").chmod(0)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "gone").symlink_to(folder / "nowhere")
    scenario = (
        "--scenario",
        "a@linf:0.5",
        "--scenario",
        "a@linf:0.5 + b@l2:0.5",
        "--attributions",
        "1",
        "--witnesses",
        "all",
    )
    swept = ("--schedule", "mcar:0,0.5", "--corruption", "a@noise:0,3")
    assert carried_out(*EVALUATE, *scenario, *swept, "--gates", "gates.yaml", "--out", "run")[0] in (0, 3, 4)
    assert carried_out(*EVALUATE, "--schedule", "none", "--no-trust", "--shard", "1/2", "--out", "part1")[0] == 0
    assert carried_out(*EVALUATE, "--schedule", "none", "--no-trust", "--shard", "2/2", "--out", "part2")[0] == 0
    assert carried_out("bless", "run", "--out", "baseline.parquet")[0] == 0
