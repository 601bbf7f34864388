"""What a model costs, against counts made by hand."""

import torch
from torch import Tensor, nn

from attacks.region import Inputs
from harness.reproduce.cost import BATCH, cost
from harness.tasks import Task

CPU = torch.device("cpu")


class Flat(nn.Module):
    """One linear map of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(784, 10)

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        logits: Tensor = self.map(inputs["image"].flatten(1))
        return logits


class Attending(nn.Module):
    """Attention over the rows of the image, its projections aside."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(28, 1, batch_first=True)

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        rows = inputs["image"].reshape(-1, 28, 28)
        seen: Tensor = self.attention(rows, rows, rows, need_weights=False)[0]
        return seen.flatten(1)[:, :10]


def of_image() -> Task:
    """Fewer test samples than a batch has."""
    images = torch.zeros(8, 28, 28)
    return Task.from_arrays(
        {"image": images}, torch.arange(8) % 2, ranges={"image": (0, 1)}, splits=["train", "val", *["test"] * 6]
    )


def test_a_linear_map_costs_two_operations_per_weight() -> None:
    found = cost(Flat(), of_image(), CPU)
    assert found.parameters == 784 * 10 + 10
    assert found.flops == 2 * 784 * 10
    assert found.milliseconds > 0


def test_attention_is_counted() -> None:
    projections = 2 * 28 * (4 * 28) * 28
    products = 2 * (2 * 28 * 28 * 28)
    assert cost(Attending(), of_image(), CPU).flops == projections + products


def test_a_model_is_left_as_it_was() -> None:
    model = Attending().train()
    cost(model, of_image(), CPU)
    assert model.training
    assert torch.backends.mha.get_fastpath_enabled()
    assert BATCH > 6  # so that the samples of a small test split are taken in turn
