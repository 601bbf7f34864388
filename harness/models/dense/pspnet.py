"""PSPNet's decoder (Zhao et al., CVPR 2017): pyramid pooling of the deepest map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.models.dense.resnet import Size

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """The deepest map beside its means over grids of 1, 2, 3 and 6 cells a side, mixed.

    It has biases in place of norms, so branches can share all of it.
    """

    def __init__(self, widths: Sequence[int], size: Size) -> None:
        super().__init__()
        wide, self.width = widths[-1], size.decoded[-1]
        part = wide // len(BINS)
        self.parts = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Conv2d(wide, part, 1), nn.ReLU()) for bins in BINS
        )
        self.mixed = nn.Sequential(nn.Conv2d(wide + part * len(BINS), self.width, 3, padding=1), nn.ReLU())

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """The mixed map (B, width, H, W) at the size of the deepest level."""
        x = levels[-1]
        pooled = [F.interpolate(part(x), size=x.shape[-2:], mode="bilinear", align_corners=True) for part in self.parts]
        mixed: Tensor = self.mixed(torch.cat([x, *pooled], 1))
        return mixed
