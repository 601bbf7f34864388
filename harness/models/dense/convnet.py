"""A small U-Net (Ronneberger et al., MICCAI 2015) with one encoder per image and one decoder for
all: a map of logits from any number of aligned images.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.models.encoders import centred
from harness.models.fused import Fused, without_missing
from harness.tasks import Modality, Task
from harness.tasks.axes import channels

AXES = 3  # classes, height, width
FOLD = 2  # pixels each way that the first layer takes as channels, and the last one gives back
WIDTHS = (24, 40, 48)  # channels of an encoder at a half, a quarter and an eighth of the size
DECODED = (32, 40, 48)  # channels of the decoder at the same sizes
GROUP = 8  # channels that are normed together, of one sample each: no sample sees another


class Pyramid(nn.Module):
    """Maps of one image at three sizes, packed into one row of features (B, D): a factored model
    hands on a single tensor per modality.
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.folded = nn.Sequential(*centred(modality), nn.PixelUnshuffle(FOLD))
        folded = channels(modality.shape) * FOLD * FOLD
        stages = [nn.Sequential(convolved(folded, WIDTHS[0]), convolved(WIDTHS[0], WIDTHS[0]))]
        stages += [
            nn.Sequential(convolved(narrow, wider, 2), convolved(wider, wider)) for narrow, wider in pairwise(WIDTHS)
        ]
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.folded(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return torch.cat([each.flatten(1) for each in maps[1:]], 1)


class Decoder(nn.Module):
    """Logits (B, classes, H, W) of the pyramids of `images` images of `size` (H, W)."""

    def __init__(self, images: int, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.shapes = [(width, *_halved(size, level + 1)) for level, width in enumerate(WIDTHS)]
        taken = [images * width + below for width, below in zip(WIDTHS, (*DECODED[1:], 0), strict=True)]
        self.mixed = nn.ModuleList(convolved(wide, width, kernel=1) for wide, width in zip(taken, DECODED, strict=True))
        self.smoothed = nn.ModuleList(convolved(width, width) for width in DECODED[:-1])
        self.classify = nn.Sequential(nn.Conv2d(DECODED[0], classes * FOLD * FOLD, 3, padding=1), nn.PixelShuffle(FOLD))

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        *sharper, x = self._levels(without_missing(features, here))
        x = self.mixed[-1](x)
        for level in reversed(range(len(sharper))):
            above = sharper[level]
            x = F.interpolate(x, size=above.shape[-2:], mode="bilinear", align_corners=False)
            x = self.smoothed[level](self.mixed[level](torch.cat([above, x], 1)))
        logits: Tensor = self.classify(x)
        return logits

    def _levels(self, features: list[Tensor]) -> list[Tensor]:
        """At each size, the maps of all images side by side."""
        sizes = [width * height * across for width, height, across in self.shapes]
        parts = [each.split(sizes, 1) for each in features]
        return [
            torch.cat([part[level].unflatten(1, shape) for part in parts], 1) for level, shape in enumerate(self.shapes)
        ]


def segmenter(task: Task) -> Fused:
    """Segmentation from all images: convolutional encoders, a decoder with skip connections.

    Raises:
        BadInput: the task asks for no map, or a modality is no image of the map's size.
    """
    return over(task, task.names)


def segmenter_of(task: Task, modality: str) -> Fused:
    """The segmentation model of one image alone.

    Raises:
        BadInput: as `segmenter`.
    """
    return over(task, [task.modality(modality).name])


def over(task: Task, names: Sequence[str]) -> Fused:
    """The segmentation model of the named images only.

    Raises:
        BadInput: as `segmenter`.
    """
    classes, height, width = map_of(task, names)
    if height % FOLD or width % FOLD:
        raise BadInput(
            f"task {task.name!r} asks for maps of {height}×{width} pixels, an odd number, and a segmenter halves "
            "them: crop or pad them by a pixel"
        )
    encoders = {name: Pyramid(task.modality(name)) for name in names}
    return Fused(task, encoders, Decoder(len(names), classes, (height, width)))


def map_of(task: Task, names: Sequence[str]) -> tuple[int, int, int]:
    """Classes, height and width of the maps that a task asks for, of which the named modalities
    are images.

    Raises:
        BadInput: the task asks for no map, or a modality is no image of its size.
    """
    shape = tuple(task.problem.shape)
    if len(shape) != AXES:
        raise BadInput(
            f"task {task.name!r} asks for answers of shape {shape}, and a segmenter answers maps (classes, H, W): "
            "choose another model"
        )
    classes, height, width = shape
    for name in names:
        check_image(task, task.modality(name), (height, width))
    return classes, height, width


def check_image(task: Task, modality: Modality, size: tuple[int, int]) -> None:
    """Refuse a modality that is no image of the size (H, W) of the answer.

    Raises:
        BadInput: naming the modality.
    """
    if modality.kind != "image" or modality.shape[-2:] != size:
        raise BadInput(
            f"modality {modality.name!r} of task {task.name!r} is {modality.kind} of shape {modality.shape}, and this"
            f" model takes images of the size of its answer, {size[0]}×{size[1]}: choose another model"
        )


def _halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    """What convolutions of stride 2 leave of a size."""
    return -(-size[0] >> times), -(-size[1] >> times)


def convolved(narrow: int, wide: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(narrow, wide, kernel, stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(wide // GROUP, wide),
        nn.ReLU(),
    )
