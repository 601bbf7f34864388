"""Tasks that only evaluate: splits other than test may be absent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.tasks import Batch, Classification, Modality, Task
from tests.commandline import run


def parts(splits: str | list[str] = "test") -> Task:
    """Two features for each of twelve samples."""
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    return Task.from_arrays({"x": x}, (x[:, 0] > 0).long(), splits=splits)


class Sign(nn.Module):
    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        return torch.stack([-inputs["x"][:, 0], inputs["x"][:, 0]], 1)


def test_an_evaluation_needs_no_training_data() -> None:
    found = harness.evaluate(parts(), {"sign": Sign()}, scenarios=["x@linf:0.1"], attributions=2)
    assert found.status == "complete" and len(found.ledger) == 12


def test_a_split_that_nobody_named_is_absent() -> None:
    task = parts(["test", "train"] * 6)
    assert sorted(task.splits) == ["test", "train"] and len(task.splits["test"]) == 6
    assert task.data_hash != parts().data_hash and task.definition_hash != parts().definition_hash


@pytest.mark.parametrize(("splits", "absent"), [(["test"], "train"), (["test", "train"], "val")])
def test_training_refuses_before_any_work(splits: list[str], absent: str) -> None:
    task = parts((splits * 12)[:12])
    with pytest.raises(BadInput, match=f"task 'arrays' has no {absent} samples, and .*: give it a split '{absent}'"):
        harness.train(task, "concat")


def test_neighbours_need_training_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my.py").write_text(
        "import torch\nfrom harness.tasks import Task\n"
        "class Embedder(torch.nn.Module):\n"
        "    def forward(self, inputs, present=None): return inputs['x']\n"
        "    def embed(self, inputs, present=None): return inputs['x']\n"
        "def build(task): return Embedder()\n"
        "def task(): return Task.from_arrays({'x': torch.eye(12)}, torch.arange(12), splits='test')\n"
    )
    monkeypatch.chdir(tmp_path)
    options = ("--task", "my.py:task", "--model", "my.py:build", "--judge", "neighbours")
    assert run(monkeypatch, "evaluate", *options) == 2


@pytest.mark.parametrize("splits", [["train", "val"], ["test", "holdout"], []])
def test_other_splits_are_refused(splits: list[str]) -> None:
    x = torch.zeros(1, 2)
    batches = {name: Batch((name,), {"x": x}, torch.zeros(1, dtype=torch.int64), ("all",)) for name in splits}
    with pytest.raises(BadInput, match="needs the split test, and may have train and val; it got"):
        Task("odd", (Modality("x", (2,), "features"),), Classification(2), batches)


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(BadInput, match="unknown split 'holdout'"):
        parts().splits["holdout"]
