"""An encoder of each image, their maps merged after every stage, and one decoder: the frame of the
fusions whose encoders do not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from harness.models.dense.convnet import map_of
from harness.models.dense.refinenet import Classifier, RefineNet
from harness.models.dense.resnet import SIZES, Backbone, Maps, Shape, Size, SizeName, packed, unpacked
from harness.models.encoders import centred
from harness.models.fused import Fused, without_missing
from harness.tasks import Modality, Task
from harness.tasks.axes import channels


class Encoder(nn.Module):
    """The maps of one image after every stage, packed into one row of features (B, D): a factored
    model hands on a single tensor per modality.
    """

    def __init__(self, modality: Modality, size: Size) -> None:
        super().__init__()
        self.pixels = nn.Sequential(*centred(modality))
        self.backbone = Backbone(channels(modality.shape), 1, size)

    def forward(self, x: Tensor) -> Tensor:
        return packed(self.levels(x))

    def levels(self, x: Tensor) -> Maps:
        """The maps, the largest first."""
        here = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        return [maps[0] for maps in self.backbone([self.pixels(x)], here)]


class Merged(nn.Module):
    """A merged map after each of four stages, RefineNet's decoder and a classifier.

    Args:
        merges: for each stage, from the maps (B, C, H, W) of all images, zeros where one is
            missing, to a map of one of `widths` channels.
        answer: (classes, H, W).
    """

    def __init__(self, merges: Sequence[nn.Module], widths: Sequence[int], answer: Shape, size: Size) -> None:
        super().__init__()
        self.shapes = size.shapes(answer[1:])
        self.merges = nn.ModuleList(merges)
        self.decode = RefineNet(widths, size)
        self.classify = Classifier(self.decode.width, answer, size)

    def forward(self, features: Maps, here: Tensor) -> Tensor:
        streams = [unpacked(x, self.shapes) for x in without_missing(features, here)]
        levels = zip(*streams, strict=True)
        merged = [merge(list(maps)) for merge, maps in zip(self.merges, levels, strict=True)]
        logits: Tensor = self.classify(self.decode(merged))
        return logits


def merging(task: Task, size: SizeName, merge: Callable[[int, int, int], tuple[nn.Module, int]]) -> Fused:
    """A fusion of all images of a task after every stage.

    Args:
        merge: builds what merges so many maps, with so many channels, at a level of the decoder of
            so many channels; and gives the channels it answers.

    Raises:
        BadInput: the task asks for no map, or a modality is no image of its size.
    """
    answer, sizes = map_of(task, task.names), SIZES[size]
    built = [merge(len(task.names), width, decoded) for width, decoded in zip(sizes.widths, sizes.decoded, strict=True)]
    encoders = {each.name: Encoder(each, sizes) for each in task.modalities}
    fusion = Merged([module for module, _ in built], [width for _, width in built], answer, sizes)
    return Fused(task, encoders, fusion)
