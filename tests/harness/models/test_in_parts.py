"""A model that takes only a few samples at once gives the numbers of one that takes any batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import harness
from attacks.errors import BadInput
from harness.tasks import Task


class Linear(torch.nn.Module):
    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self.most = most

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        if self.most is not None and len(inputs["a"]) > self.most:
            raise ValueError(f"at most {self.most} samples at once")
        evidence = inputs["a"].sum(1) + 0.3 * inputs["b"].sum(1)
        return torch.stack([-evidence, evidence], dim=1)


def some_task() -> Task:
    draws = torch.Generator().manual_seed(0)
    inputs = {"a": torch.randn(12, 4, generator=draws), "b": torch.randn(12, 3, generator=draws)}
    return Task.from_arrays(inputs, torch.arange(12) % 2, splits="test", name="some")


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("most", [1, 3, 4])
def test_numbers_do_not_depend_on_the_parts(most: int, batch_size: int) -> None:
    options = {"search": "fast", "schedule": "none", "batch_size": batch_size, "corruption": ["a@noise:3"]}
    found = harness.evaluate(some_task(), {"few": Linear(most), "any": Linear()}, **options)
    ledger = found.ledger.sort_values(["sample", "scenario"])
    rows = {name: ledger[ledger.model == name] for name in ("few", "any")}
    for column in ("sample", "scenario", "strength", "clean_score", "score", "gradients", "witness"):
        assert rows["few"][column].tolist() == rows["any"][column].tolist(), column
    assert not set(found.flags["check"]) & {"batch", "random"}


def test_a_model_that_takes_no_sample_is_refused_with_its_own_reason() -> None:
    with pytest.raises(BadInput, match="fails on the first samples of task 'some': ValueError: at most 0 samples"):
        harness.evaluate(some_task(), {"none": Linear(0)}, search="fast")


def test_it_is_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "few.py").write_text(
        "import torch\n"
        "class Few(torch.nn.Module):\n"
        "    def __init__(self, task):\n"
        "        super().__init__()\n"
        "        self.net = torch.nn.Linear(64, 10)\n"
        "    def forward(self, inputs, present=None):\n"
        "        assert len(inputs['image']) == 1\n"
        "        return self.net(inputs['image'].flatten(1))\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"'few\.py:Few' takes only a few samples at once: train it elsewhere"):
        harness.train("digits", "few.py:Few", epochs=1)
