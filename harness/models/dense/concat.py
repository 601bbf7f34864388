"""Fusion by concatenation on RefineNet: of the images, of the maps before the classifier, or of the
maps after every stage.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.dense.convnet import map_of
from harness.models.dense.refinenet import Classifier, RefineNet, side_by_side
from harness.models.dense.resnet import SIZES, Maps, Size, SizeName
from harness.models.dense.streams import Encoder, merging
from harness.models.fused import Fused, without_missing
from harness.tasks import Modality, Task


class Decoded(nn.Module):
    """The decoder's map (B, C, H, W) of one image."""

    def __init__(self, modality: Modality, size: Size) -> None:
        super().__init__()
        self.encode, self.decode = Encoder(modality, size), RefineNet(size.widths, size)

    def forward(self, x: Tensor) -> Tensor:
        decoded: Tensor = self.decode(self.encode.levels(x))
        return decoded


class Classified(nn.Module):
    """The logits of maps (B, C, H, W) side by side, zeros where one is missing."""

    def __init__(self, classify: Classifier) -> None:
        super().__init__()
        self.classify = classify

    def forward(self, features: Maps, here: Tensor) -> Tensor:
        logits: Tensor = self.classify(torch.cat(without_missing(features, here), 1))
        return logits


class Concatenated(nn.Module):
    """Maps side by side, mixed by a 1×1 convolution."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.mixed = nn.Sequential(nn.Conv2d(count * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, maps: Maps) -> Tensor:
        mixed: Tensor = self.mixed(torch.cat(maps, 1))
        return mixed


def concat_early(task: Task, size: SizeName = "small") -> Fused:
    """Early concatenation: one RefineNet on all images, side by side as channels.

    Raises:
        BadInput: the task asks for no map, or a modality is no image of its size.
    """
    return side_by_side(task, task.names, size, "refinenet")


def concat_late(task: Task, size: SizeName = "small") -> Fused:
    """Late concatenation: a RefineNet for each image, one classifier on their maps.

    Raises:
        BadInput: as `concat_early`.
    """
    answer, sizes = map_of(task, task.names), SIZES[size]
    encoders = {each.name: Decoded(each, sizes) for each in task.modalities}
    return Fused(task, encoders, Classified(Classifier(sizes.decoded[0] * len(encoders), answer, sizes)))


def concat_all_layers(task: Task, size: SizeName = "small") -> Fused:
    """Concatenation at all layers: an encoder of each image, maps joined after every stage.

    Raises:
        BadInput: as `concat_early`.
    """
    return merging(task, size, lambda count, width, _: (Concatenated(count, width), width))
