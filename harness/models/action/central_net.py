"""CentralNet (Vielzeuf et al., ECCV workshop 2018): a third network between a skeleton's stream and
a film's, fed by a learnt weighted sum of all three after every stage.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.action.streams import TwoStreams, pooled, two_streams
from harness.models.fused import Fused, without_missing
from harness.models.option_types import OneOrMore
from harness.tasks import Task

WIDTH = 128
STREAMS = 2


class Central(nn.Module):
    """After each stage, c = W(α_0 c + Σ_m α_m P_m x_m), where P_m maps the mean of a stream's maps
    to one width and x_m is 0 where its modality is missing. Streams have logits of their own, which
    recipe two-streams trains; the answer is the central one.
    """

    def __init__(self, parts: TwoStreams, width: int, outputs: int) -> None:
        super().__init__()
        self.streams = parts.stages
        self.stages = nn.ModuleList(parts.stages)
        self.channels = parts.levels
        self.heads = parts.heads
        self.alpha = nn.Parameter(torch.full((len(self.channels), 1 + STREAMS), 1 / (1 + STREAMS)))
        self.maps = nn.ModuleList(nn.ModuleList(nn.Linear(each, width) for each in level) for level in self.channels)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in self.channels)
        self.classify = nn.Linear(width, outputs)

    def logits(self, features: list[Tensor], here: Tensor) -> list[Tensor]:
        """Those of each stream, then the central ones, (B, K)."""
        streams, central = list(features), torch.zeros((), device=here.device)
        for level, counts in enumerate(self.channels):
            streams = [stages[level](x) for stages, x in zip(self.streams, streams, strict=True)]
            seen = without_missing([pooled(x, count) for x, count in zip(streams, counts, strict=True)], here)
            mapped = [self.maps[level][place](x) for place, x in enumerate(seen)]  # type: ignore[index]
            weights = self.alpha[level]
            central = self.layers[level](
                weights[0] * central + sum(weight * x for weight, x in zip(weights[1:], mapped, strict=True))
            )
        return [*(head(x) for head, x in zip(self.heads, streams, strict=True)), self.classify(central)]

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        return self.logits(features, here)[-1]


def central_net(task: Task, width: OneOrMore = WIDTH) -> Fused:
    """CentralNet: a central network sums a skeleton's stream and a film's after every stage.

    Args:
        width: of the central network.

    Raises:
        BadInput: the task has no skeleton or no video, or several.
    """
    parts = two_streams(task, "central-net")
    return Fused(task, parts.first, Central(parts, width, task.width))
