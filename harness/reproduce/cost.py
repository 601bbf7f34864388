"""The cost of a model: parameters, floating-point operations, time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from attacks.objective import preserved
from harness.tasks import Task

BATCH, REPEATS = 64, 7


@dataclass(frozen=True)
class Cost:
    """The cost of a forward pass, for one sample.

    Attributes:
        flops: those of matrix products, convolutions and attention; a multiply-add counts as two.
            Transforms such as the STFT and elementwise operations are not counted.
        milliseconds: in a batch of 64, the fastest of 7.
    """

    parameters: int
    flops: float
    milliseconds: float


def cost(model: nn.Module, task: Task, device: torch.device) -> Cost:
    """The cost, measured on test samples; the model does not change."""
    test = task.splits["test"]
    batch = test.take([row % len(test) for row in range(BATCH)]).to(device)
    with preserved(model), torch.no_grad():
        model.eval()
        # its tracker needs the graph
        with torch.enable_grad(), _countable_attention(), FlopCounterMode(display=False) as counter:
            model(batch.inputs, None)
        seconds = min(_seconds(model, batch.inputs, device) for _ in range(REPEATS))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, counter.get_total_flops() / BATCH, 1000 * seconds / BATCH)


@contextmanager
def _countable_attention() -> Iterator[None]:
    """The counter sees nothing of fused attention on CPU."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _seconds(model: nn.Module, inputs: dict[str, torch.Tensor], device: torch.device) -> float:
    started = time.perf_counter()
    model(inputs, None)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
