"""GMU, the gated multimodal unit (Arevalo et al., ICLR workshop 2017), on the last stages of a
skeleton's stream and a film's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.action.streams import TwoStreams, pooled, two_streams
from harness.models.fused import Fused, without_missing
from harness.models.option_types import OneOrMore
from harness.tasks import Task

WIDTH = 128


class GatedUnit(nn.Module):
    """h = z ⊙ tanh(W_1 x_1) + (1 - z) ⊙ tanh(W_2 x_2), with z = σ(W_z [x_1, x_2]); where one is
    missing, the other alone.
    """

    def __init__(self, parts: TwoStreams, width: int, outputs: int) -> None:
        super().__init__()
        self.streams = nn.ModuleList(nn.Sequential(*stages) for stages in parts.stages)
        self.counts = [channels[-1] for channels in parts.channels]
        self.maps = nn.ModuleList(nn.Linear(count, width) for count in self.counts)
        self.gate = nn.Linear(sum(self.counts), width)
        self.classify = nn.Linear(width, outputs)

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        last = [pooled(stream(x), count) for stream, x, count in zip(self.streams, features, self.counts, strict=True)]
        last = without_missing(last, here)
        first, second = (each(x).tanh() for each, x in zip(self.maps, last, strict=True))
        z = self.gate(torch.cat(last, 1)).sigmoid()
        z = torch.where(here[:, 1:], z, 1.0)
        z = torch.where(here[:, :1], z, 0.0)
        second = torch.where(here[:, 1:], second, 0.0)
        answer: Tensor = self.classify(z * first + (1 - z) * second)
        return answer


def gmu(task: Task, width: OneOrMore = WIDTH) -> Fused:
    """GMU: a gate for every feature decides between a skeleton and a film.

    Args:
        width: of the unit.

    Raises:
        BadInput: the task has no skeleton or no video, or several.
    """
    parts = two_streams(task, "gmu")
    return Fused(task, parts.first, GatedUnit(parts, width, task.width))
