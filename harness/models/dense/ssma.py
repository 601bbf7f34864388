"""SSMA, self-supervised model adaptation (Valada et al., IJCV 2020): each merge gates the channels
of all images at every place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.dense.resnet import Maps, SizeName
from harness.models.dense.streams import merging
from harness.models.fused import Fused
from harness.tasks import Task

RATIO = 16  # of the bottleneck inside a gate


class Gated(nn.Module):
    """BN(conv(x ⊙ σ(conv(ReLU(conv(x)))))) with x the maps side by side."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        wide, narrow = count * width, max(1, count * width // RATIO)
        self.gate = nn.Sequential(
            nn.Conv2d(wide, narrow, 3, padding=1), nn.ReLU(), nn.Conv2d(narrow, wide, 3, padding=1), nn.Sigmoid()
        )
        self.joined = nn.Sequential(nn.Conv2d(wide, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, maps: Maps) -> Tensor:
        x = torch.cat(maps, 1)
        joined: Tensor = self.joined(x * self.gate(x))
        return joined


def ssma(task: Task, size: SizeName = "small") -> Fused:
    """SSMA: an encoder of each image; maps are gated and joined after every stage.

    Raises:
        BadInput: the task asks for no map, or a modality is no image of its size.
    """
    return merging(task, size, lambda count, width, _: (Gated(count, width), width))
