"""FuseNet (Hazirbas et al., ACCV 2016) on a ResNet: the maps of the other images are added to those
of the first, which go on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.models.dense.convnet import map_of
from harness.models.dense.refinenet import Classifier, RefineNet
from harness.models.dense.resnet import SIZES, Backbone, Maps, Shape, Size, SizeName
from harness.models.encoders import centred
from harness.models.fused import Fused, without_missing
from harness.tasks import Task
from harness.tasks.axes import channels


class Adding(nn.Module):
    """Encoders of one branch each; the first takes the sum of all maps after the stem and after
    every stage. A missing image adds nothing.
    """

    def __init__(self, widths: Sequence[int], answer: Shape, size: Size) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(Backbone(width, 1, size) for width in widths)
        self.decode = RefineNet(size.widths, size)
        self.classify = Classifier(self.decode.width, answer, size)

    def forward(self, features: Maps, here: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.decode(self._levels(without_missing(features, here), here)))
        return logits

    def _levels(self, pixels: Maps, here: Tensor) -> Maps:
        """The summed maps after each stage."""
        backbones = [each for each in self.encoders if isinstance(each, Backbone)]
        maps = [each.started([x])[0] for each, x in zip(backbones, pixels, strict=True)]
        main, *others = without_missing(maps, here)
        levels = [_sum(main, others)]
        for stage in range(len(backbones[0].stages)):
            main = backbones[0].staged(stage, [levels[-1]], here)[0]
            others = [each.staged(stage, [x], here)[0] for each, x in zip(backbones[1:], others, strict=True)]
            levels.append(_sum(main, without_missing(others, here[:, 1:])))
        return levels[1:]


def fusenet(task: Task, size: SizeName = "small") -> Fused:
    """FuseNet: an encoder of each image; maps are added to the first's after every stage.

    Raises:
        BadInput: the task asks for no map, or a modality is no image of its size.
    """
    answer = map_of(task, task.names)
    encoders = {each.name: nn.Sequential(*centred(each)) for each in task.modalities}
    widths = [channels(each.shape) for each in task.modalities]
    return Fused(task, encoders, Adding(widths, answer, SIZES[size]))


def _sum(main: Tensor, others: Maps) -> Tensor:
    return torch.stack([main, *others]).sum(0)
