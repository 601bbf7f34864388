"""RDFNet (Park et al., ICCV 2017): residual units refine the maps of each image before they are
added, at every level of RefineNet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.dense.refinenet import ChainedPooling, ResidualUnits, flat
from harness.models.dense.resnet import Maps, SizeName
from harness.models.dense.streams import merging
from harness.models.fused import Fused
from harness.tasks import Task

UNITS = 2  # residual units of each image


class Refined(nn.Module):
    """For each image a 1×1 convolution to `width` channels, residual units and a 3×3 convolution;
    the sum goes through a ReLU and a pooling.
    """

    def __init__(self, count: int, wide: int, width: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), ResidualUnits(width, UNITS), flat(width, width))
            for _ in range(count)
        )
        self.pooled = nn.Sequential(nn.ReLU(), ChainedPooling(width, 1))

    def forward(self, maps: Maps) -> Tensor:
        added = torch.stack([path(x) for path, x in zip(self.paths, maps, strict=True)]).sum(0)
        pooled: Tensor = self.pooled(added)
        return pooled


def rdfnet(task: Task, size: SizeName = "small") -> Fused:
    """RDFNet: an encoder of each image; maps are refined and added after every stage.

    Raises:
        BadInput: the task asks for no map, or a modality is no image of its size.
    """
    return merging(task, size, lambda count, wide, width: (Refined(count, wide, width), width))
