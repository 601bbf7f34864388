"""A folder with a task and models that break."""

from pathlib import Path

import pytest

MINE = """
import time
import torch
from harness.tasks import Task

class Linear(torch.nn.Module):
    def forward(self, inputs, present=None):
        evidence = inputs["a"].mean(1)
        return torch.stack([-evidence, evidence], dim=1)

class Hangs(Linear):
    calls = 0
    def forward(self, inputs, present=None):
        if bool((inputs["a"] > 90).any()):
            while True:
                time.sleep(0.01)
        return super().forward(inputs, present)

class Nan(Linear):
    def forward(self, inputs, present=None):
        outputs = super().forward(inputs, present)
        return torch.where((inputs["a"] > 90).any(1, keepdim=True), float("nan"), outputs)

class Raises(Linear):
    def forward(self, inputs, present=None):
        if bool((inputs["a"] > 90).any()):
            raise ZeroDivisionError("a fault of the model")
        return super().forward(inputs, present)

class Ends(Linear):
    def forward(self, inputs, present=None):
        if bool((inputs["a"] > 90).any()):
            raise SystemExit(0)
        return super().forward(inputs, present)

class Slow(Linear):
    def forward(self, inputs, present=None):
        time.sleep(0.005)
        return super().forward(inputs, present)

def slow(task): return Slow()
def nan(task): return Nan()
def raises(task): return Raises()
def ends(task): return Ends()
def build(task): return Linear()
def hangs(task): return Hangs()

def task():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(40, 4, generator=generator)
    a[33, 0] = 99
    return Task.from_arrays({"a": a}, torch.arange(40) % 2, splits=["train"] * 20 + ["val"] * 8 + ["test"] * 12)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path
