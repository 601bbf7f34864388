"""A random model, and a task for it."""

from __future__ import annotations

import torch

from harness.tasks import Task


class Noisy(torch.nn.Module):
    """Linear, with noise on its evidence."""

    def __init__(self, noise: float = 1.0) -> None:
        super().__init__()
        self.noise = noise
        self.register_buffer("w", torch.tensor([1.0, -0.5, 0.25, 0.8]))

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        evidence = inputs["a"] @ self.w + self.noise * torch.randn(len(inputs["a"]))
        return torch.stack([-evidence, evidence], 1)


def some_task(count: int = 24) -> Task:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    a = (2.0 * labels[:, None] - 1) + 0.5 * torch.randn(count, 4, generator=draws)
    return Task.from_arrays({"a": a}, labels, splits="test", name="some")
