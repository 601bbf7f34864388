"""ResNet's bottlenecks (He et al., CVPR 2016) on one or several branches at once: branches share
every convolution, and each has batch norms of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

EXPANSION = 4  # channels after a bottleneck, by channels inside it
DILATED = ((1, 1), (2, 1), (1, 2), (1, 4))  # stride and dilation of each stage, of which two keep the size
STRIDED = ((1, 1), (2, 1), (2, 1), (2, 1))
Maps = list[Tensor]
"""A map (B, C, H, W) of each branch, or of each stage."""
Shape = tuple[int, int, int]
SizeName = Literal["small", "resnet101", "resnet152"]


@dataclass(frozen=True)
class Size:
    """The sizes of a network.

    Attributes:
        stem: channels of the first convolution, of stride 2.
        kernel: of the first convolution.
        pooled: whether a max pooling to half the size follows it.
        layers: bottlenecks of each of the four stages.
        inner: channels inside the bottlenecks of each stage.
        decoded: channels of the decoder at each stage.
        units: residual units of the decoder before and after its pooling.
        pools: poolings in the chain of the decoder.
        dropout: before the decoder's two deepest levels and before the classifier.
    """

    stem: int
    kernel: int
    pooled: bool
    layers: tuple[int, int, int, int]
    inner: tuple[int, int, int, int]
    decoded: tuple[int, int, int, int]
    units: tuple[int, int]
    pools: int
    dropout: float

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after each stage."""
        return tuple(EXPANSION * inner for inner in self.inner)

    def shapes(self, pixels: tuple[int, int]) -> list[Shape]:
        """(C, H, W) after each stage, of an image of so many pixels."""
        halvings = 2 if self.pooled else 1
        sides = [[-(-side >> (halvings + stage)) for side in pixels] for stage in range(len(self.inner))]
        return [(width, height, across) for width, (height, across) in zip(self.widths, sides, strict=True)]


def _published(*layers: int) -> Size:
    first, second, third, fourth = layers
    inner, decoded = (64, 128, 256, 512), (256, 256, 256, 512)
    return Size(64, 7, True, (first, second, third, fourth), inner, decoded, (2, 3), 4, 0.5)


SIZES: dict[str, Size] = {
    "small": Size(24, 3, False, (1, 2, 2, 2), (16, 24, 32, 48), (16, 24, 24, 32), (1, 1), 2, 0.1),
    "resnet101": _published(3, 4, 23, 3),
    "resnet152": _published(3, 8, 36, 3),
}
"""By name; `small` is for 48×48 pixels, without ImageNet's weights, on a CPU."""


@dataclass(frozen=True)
class Place:
    """Where a bottleneck stands: channels before and inside it, branches, stride, dilation, and
    whether it is the last of its stage.
    """

    narrow: int
    inner: int
    branches: int
    stride: int
    dilation: int
    last: bool


class Convolution(nn.Module):
    """A convolution that all branches share, and a batch norm of each branch."""

    def __init__(
        self, narrow: int, wide: int, branches: int, kernel: int = 1, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(narrow, wide, kernel, stride, kernel // 2 * dilation, dilation, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(wide) for _ in range(branches))

    def forward(self, maps: Maps) -> Maps:
        return [norm(self.convolve(x)) for norm, x in zip(self.norms, maps, strict=True)]


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut; branches do not meet."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        narrow, inner, branches, wide = place.narrow, place.inner, place.branches, EXPANSION * place.inner
        self.reduce = Convolution(narrow, inner, branches)
        self.middle = Convolution(inner, inner, branches, 3, place.stride, place.dilation)
        self.widen = Convolution(inner, wide, branches)
        straight = narrow == wide and place.stride == 1
        self.shortcut = nn.Identity() if straight else Convolution(narrow, wide, branches, 1, place.stride)

    def forward(self, maps: Maps, here: Tensor) -> Maps:
        """Maps (B, 4·inner, H, W) of each branch; bool (B, M) marks the present ones."""
        out = self.widen(self.inside(rectified(self.reduce(maps)), here))
        return [(x + y).relu() for x, y in zip(out, self.shortcut(maps), strict=True)]

    def inside(self, maps: Maps, here: Tensor) -> Maps:
        """The part around the 3×3 convolution, on maps (B, inner, H, W)."""
        return rectified(self.middle(maps))


class Backbone(nn.Module):
    """The stem and four stages of bottlenecks.

    Args:
        channels: of every input.
        block: builds the bottleneck of a place.
        dilated: whether the last two stages keep the size of their maps, as PSPNet's do.
    """

    def __init__(
        self,
        channels: int,
        branches: int,
        size: Size,
        block: Callable[[Place], Bottleneck] = Bottleneck,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        self.stem = Convolution(channels, size.stem, branches, size.kernel, 2)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if size.pooled else nn.Identity()
        befores = (size.stem, *size.widths[:-1])
        self.stages = nn.ModuleList(
            nn.ModuleList(
                block(
                    Place(
                        before if row == 0 else EXPANSION * inner,
                        inner,
                        branches,
                        stride if row == 0 else 1,
                        dilation,
                        row == count - 1,
                    )
                )
                for row in range(count)
            )
            for before, inner, count, (stride, dilation) in zip(
                befores, size.inner, size.layers, DILATED if dilated else STRIDED, strict=True
            )
        )

    def forward(self, maps: Maps, here: Tensor) -> list[Maps]:
        """The maps of every branch after each stage."""
        levels = [self.started(maps)]
        for stage in range(len(self.stages)):
            levels.append(self.staged(stage, levels[-1], here))
        return levels[1:]

    def started(self, maps: Maps) -> Maps:
        """The maps after the stem."""
        return [self.pool(x) for x in rectified(self.stem(maps))]

    def staged(self, stage: int, maps: Maps, here: Tensor) -> Maps:
        """The maps after one more stage."""
        blocks = self.stages[stage]
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            maps = block(maps, here)
        return maps


def rectified(maps: Maps) -> Maps:
    """ReLU of every map."""
    return [x.relu() for x in maps]


def packed(maps: Maps) -> Tensor:
    """Maps of several stages as one row of features (B, D)."""
    return torch.cat([x.flatten(1) for x in maps], 1)


def unpacked(features: Tensor, shapes: Sequence[Shape]) -> Maps:
    """The maps of `packed`, of these shapes (C, H, W)."""
    parts = features.split([math.prod(shape) for shape in shapes], 1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
