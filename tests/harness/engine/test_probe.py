"""What a model is tried on before the work begins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.tasks import Task


class Own(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2, dtype=dtype)

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        out: Tensor = self.net(inputs["a"])
        return out


@pytest.mark.parametrize("name", ["float64", "bfloat16"])
def test_a_model_in_another_precision_gets_its_mend(name: str) -> None:
    task = Task.from_arrays({"a": torch.rand(12, 4)}, torch.arange(12) % 2, splits="test", name="some")
    with pytest.raises(BadInput, match=rf"it has weights of {name}, .* build it with \.float\(\)"):
        harness.evaluate(task, {"own": Own(getattr(torch, name))}, search="fast")
