"""A linear model that may die, hang or raise in a worker, and a short run of it."""

from typing import Any

import pytest

from harness.run.directory import RunDirectory
from tests.commandline import run as run_command

MINE = """
import os
import signal
import torch
from pathlib import Path
from harness.tasks import Task

UNASKED, ASKED = 33, 50  # rows of the test split that no fingerprint holds, and that every one does

class Linear(torch.nn.Module):
    def forward(self, inputs, present=None):
        evidence = inputs["a"].mean(1) + 0.3 * inputs["b"].mean(1)
        return torch.stack([-evidence, evidence], dim=1)

class Dies(Linear):
    always = True
    def forward(self, inputs, present=None):
        marked = bool((inputs["a"] > 90).any())
        if marked and os.getpid() != int(os.environ["DRIVER"]):
            if self.always or not Path("died").exists():
                Path("died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(inputs, present)

class DiesOnce(Dies):
    always = False

class Raises(Linear):
    def forward(self, inputs, present=None):
        if bool((inputs["a"] > 90).any()) and len(inputs["a"]) and inputs["a"].requires_grad:
            raise ZeroDivisionError("a fault of the model")
        return super().forward(inputs, present)

class Reads(Linear):
    def forward(self, inputs, present=None):
        return super().forward(inputs, present) * (1 if os.getpid() == int(os.environ["DRIVER"]) else -1)

def reads(task): return Reads()
def build(task): return Linear()
def dies(task): return Dies()
def dies_once(task): return DiesOnce()
def raises(task): return Raises()

def task():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(60, 4, generator=generator), torch.randn(60, 3, generator=generator)
    a[int(os.environ.get("DEADLY", UNASKED)), 0] = 99
    labels = torch.arange(60) % 2
    return Task.from_arrays({"a": a, "b": b}, labels, splits=["train"] * 20 + ["val"] * 8 + ["test"] * 32)
"""
COMMAND = [
    "evaluate",
    "--task",
    "mine.py:task",
    "--search",
    "fast",
    "--samples",
    "12",
    "--batch-size",
    "4",
    "--no-trust",
]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    return run_command(monkeypatch, *COMMAND, *arguments)


def rows(out: str) -> list[dict[str, Any]]:
    return sorted(
        RunDirectory(out).table("ledger").to_pylist(), key=lambda row: (row["model"], row["sample"], row["scenario"])
    )
