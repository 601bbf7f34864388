"""RefineNet (Lin et al., CVPR 2017) with 3×3 convolutions on a ResNet: segmentation from one image,
and the network whose parts every dense fusion here shares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.models.dense.convnet import map_of
from harness.models.dense.exchange import widest
from harness.models.dense.pspnet import PyramidPooling
from harness.models.dense.resnet import SIZES, Backbone, Bottleneck, Maps, Place, Shape, Size, SizeName
from harness.models.encoders import centred
from harness.models.fused import Fused, without_missing
from harness.tasks import Task
from harness.tasks.axes import channels

POOL = 5  # pixels a side of the pooling in the chain
DEEP = 2  # levels of the decoder that have dropout
DecoderName = Literal["refinenet", "pspnet"]


class ResidualUnits(nn.Sequential):
    """Residual units, each x + conv(ReLU(conv(ReLU(x)))), one after the other."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__(*(ResidualUnit(width) for _ in range(count)))


class ResidualUnit(nn.Module):
    """x + conv(ReLU(conv(ReLU(x)))) with 3×3 convolutions.

    The reference code adds the rectified x, because its first ReLU works in place.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.path = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), flat(width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.path(x)
        return out


class ChainedPooling(nn.Module):
    """x plus a chain of max poolings, each followed by a 3×3 convolution."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(POOL, 1, padding=POOL // 2)
        self.links = nn.ModuleList(flat(width, width) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        chained = x
        for link in self.links:
            chained = link(self.pool(chained))
            x = x + chained
        return x


class Refining(nn.Module):
    """One level of the decoder: its map, with `wide` channels, joins the deeper level's; all but
    the first level go on to the one above.
    """

    def __init__(self, wide: int, level: int, size: Size) -> None:
        super().__init__()
        width, (before, after), deep = size.decoded[level], size.units, len(size.decoded) - level
        dropout = nn.Dropout(size.dropout if deep <= DEEP else 0.0)
        self.entered = nn.Sequential(dropout, flat(wide, width), ResidualUnits(width, before))
        self.adapted = flat(width, width) if deep > 1 else nn.Identity()
        self.pooled = nn.Sequential(nn.ReLU(), ChainedPooling(width, size.pools), ResidualUnits(width, after))
        self.left = flat(width, size.decoded[level - 1]) if level else nn.Identity()

    def forward(self, x: Tensor, deeper: Tensor | None) -> Tensor:
        x = self.adapted(self.entered(x))
        if deeper is not None:
            x = x + F.interpolate(deeper, size=x.shape[-2:], mode="bilinear", align_corners=True)
        refined: Tensor = self.left(self.pooled(x))
        return refined


class RefineNet(nn.Module):
    """From the maps of four stages, the deepest first, to one map at the size of the first.

    Args:
        widths: channels of the maps.
    """

    def __init__(self, widths: Sequence[int], size: Size) -> None:
        super().__init__()
        self.width = size.decoded[0]
        self.levels = nn.ModuleList(Refining(wide, level, size) for level, wide in enumerate(widths))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """The map (B, width, H, W) of maps (B, C, H, W), the largest first."""
        deeper: Tensor | None = None
        for level, x in reversed(list(zip(self.levels, levels, strict=True))):
            deeper = level(x, deeper)
        assert deeper is not None
        return deeper


class Classifier(nn.Module):
    """Logits (B, classes, H, W) of a smaller map with `width` channels."""

    def __init__(self, width: int, answer: Shape, size: Size) -> None:
        super().__init__()
        classes, *self.answered = answer
        self.classify = nn.Sequential(nn.Dropout(size.dropout), nn.Conv2d(width, classes, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.classify(x), size=self.answered, mode="bilinear", align_corners=True)


@dataclass(frozen=True)
class Plan:
    """What a dense network is built from.

    Attributes:
        channels: of every input.
        answer: (classes, H, W).
        size: of the network.
        decoder: by name.
    """

    channels: int
    answer: Shape
    size: Size
    decoder: str = "refinenet"


class Network(nn.Module):
    """Backbone, decoder and classifier, run on every branch; branches share all but their norms.

    Args:
        block: builds the bottleneck of a place; branches meet only in bottlenecks.
    """

    def __init__(self, plan: Plan, branches: int, block: Callable[[Place], Bottleneck] = Bottleneck) -> None:
        super().__init__()
        decoder = PyramidPooling if plan.decoder == "pspnet" else RefineNet
        self.backbone = Backbone(plan.channels, branches, plan.size, block, dilated=plan.decoder == "pspnet")
        self.decode = decoder(plan.size.widths, plan.size)
        self.classify = Classifier(self.decode.width, plan.answer, plan.size)

    def forward(self, maps: Maps, here: Tensor) -> Maps:
        """Logits (B, classes, H, W) of each branch; bool (B, M) marks the present ones."""
        levels = self.backbone(maps, here)
        return [self.classify(self.decode(each)) for each in zip(*levels, strict=True)]


class Joined(nn.Module):
    """A network of one branch, on the images side by side as channels; zeros where one is
    missing.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.network = Network(plan, 1)

    def forward(self, features: Maps, here: Tensor) -> Tensor:
        logits: Tensor = self.network([torch.cat(without_missing(features, here), 1)], here)[0]
        return logits


def refinenet_of(task: Task, modality: str, size: SizeName = "small", decoder: DecoderName = "refinenet") -> Fused:
    """RefineNet on a ResNet, from one image alone; PSPNet's pyramid pooling as another decoder.

    Raises:
        BadInput: the task asks for no map, or the modality is no image of its size.
    """
    return side_by_side(task, [task.modality(modality).name], size, decoder)


def side_by_side(task: Task, names: Sequence[str], size: SizeName, decoder: DecoderName) -> Fused:
    """One network on the named images, side by side as channels.

    Raises:
        BadInput: as `refinenet_of`.
    """
    answer = map_of(task, names)
    modalities = [task.modality(name) for name in names]
    wide = sum(channels(each.shape) for each in modalities)
    encoders = {each.name: nn.Sequential(*centred(each)) for each in modalities}
    return Fused(task, encoders, Joined(Plan(wide, answer, SIZES[size], decoder)))


def tiled(task: Task) -> tuple[dict[str, nn.Module], int]:
    """For each modality, its centred pixels with as many channels as the widest has, and their
    number: shared convolutions take no other. One channel is repeated.

    Raises:
        BadInput: a modality has another number of channels.
    """
    most = widest(task, task.names)
    return {each.name: nn.Sequential(*centred(each), Tiled(most)) for each in task.modalities}, most


class Tiled(nn.Module):
    """A map's one channel, repeated; maps with `most` channels stay."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, self.most, -1, -1)


def flat(narrow: int, wide: int) -> nn.Conv2d:
    """A 3×3 convolution without bias."""
    return nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
