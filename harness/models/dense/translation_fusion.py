"""pix2pix from several images, whose maps are fused early, in the middle, late or at every size:
the rivals of channel exchange in translation (Wang et al., NeurIPS 2020).

Every image has an encoder up to the place of fusion; one encoder goes on from there. Skip
connections above that place are the mean of the streams. The exact places are our choice: early is
behind the first convolution, the middle behind the fourth of eight, late behind the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from attacks.region import Inputs
from harness.models.dense.pix2pix import Decoder, Encoder, Lesson, Translator, started, widths
from harness.models.fused import without_missing
from harness.models.option_types import OneOrMore, TwoOrMore
from harness.tasks import Task
from harness.tasks.axes import channels

Operation = Literal["concat", "average", "align", "attention"]
Place = Literal["early", "middle", "late", "all"]
SQUEEZED = 4  # the gate of self-attention has so many times fewer channels inside


class Average(nn.Module):
    """The mean of those maps (B, C, h, w) that are there; 0 where none is."""

    def forward(self, maps: list[Tensor], here: Tensor) -> Tensor:
        count = here.sum(1).clamp_min(1).reshape(-1, 1, 1, 1)
        return torch.stack(without_missing(maps, here)).sum(0) / count


class Concat(nn.Module):
    """A 1×1 convolution of all maps, 0 where one is missing."""

    def __init__(self, images: int, wide: int) -> None:
        super().__init__()
        self.mixed = nn.Conv2d(images * wide, wide, 1)

    def forward(self, maps: list[Tensor], here: Tensor) -> Tensor:
        mixed: Tensor = self.mixed(torch.cat(without_missing(maps, here), 1))
        return mixed


class Attention(nn.Module):
    """A gate for every value of all maps, seen together (SSMA, Valada et al., IJCV 2019), then a
    1×1 convolution.
    """

    def __init__(self, images: int, wide: int) -> None:
        super().__init__()
        inside = max(1, images * wide // SQUEEZED)
        self.gate = nn.Sequential(
            nn.Conv2d(images * wide, inside, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inside, images * wide, 3, padding=1),
            nn.Sigmoid(),
        )
        self.mixed = nn.Conv2d(images * wide, wide, 1)

    def forward(self, maps: list[Tensor], here: Tensor) -> Tensor:
        joined = torch.cat(without_missing(maps, here), 1)
        mixed: Tensor = self.mixed(self.gate(joined) * joined)
        return mixed


class TranslationFusion(Translator):
    """One encoder per image up to a level, then a U-Net of the fused maps."""

    def __init__(
        self, task: Task, names: Sequence[str], operation: Operation, place: Place, width: int, levels: int
    ) -> None:
        super().__init__(task, names, levels)
        wide = widths(width, levels)
        self.at = {"early": 0, "middle": (levels - 1) // 2}.get(place, levels - 1)
        self.fused = range(levels) if place == "all" else [self.at]
        self.aligned = operation == "align"
        self.wide = wide[: self.at + 1]
        self.size = task.problem.shape[1:]
        self.encoders = nn.ModuleList(
            Encoder([channels(task.modality(name).shape), *self.wide], ends=self.at == levels - 1) for name in names
        )
        self.joins = nn.ModuleList(
            _join(operation if level in self.fused else "average", len(names), wider)
            for level, wider in enumerate(self.wide)
        )
        self.trunk, self.decoder = Encoder(wide[self.at :], first=self.at + 1), Decoder(wide, task.problem.shape[0])
        started(self)

    def encode(self, name: str, x: Tensor) -> Tensor:
        """The maps of an image in one row of features (B, D)."""
        at = self.encoded.index(name)
        return torch.cat([each.flatten(1) for each in self.encoders[at](self.centred[at](x))], 1)

    def fuse(self, features: Inputs, present: Tensor | None = None) -> Tensor:
        """The answer (B, C, H, W); a missing image has no influence."""
        return self.scaled(self._drawn([self._maps(features[name]) for name in self.encoded], present))

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        return self.fuse({name: self.encode(name, inputs[name]) for name in self.encoded}, present)

    def lesson(self, inputs: Inputs) -> Lesson:
        """One branch, seen beside all images; the penalty draws aligned maps together."""
        streams = [self._maps(self.encode(name, inputs[name])) for name in self.encoded]
        pairs = [(streams[0][level], each[level]) for each in streams[1:] for level in self.fused]
        penalty = sum((apart(*pair) for pair in pairs), torch.zeros(())) if self.aligned else 0.0
        return Lesson([torch.cat(self.read(inputs), 1)], [self._drawn(streams, None)], penalty=penalty)

    def _maps(self, features: Tensor) -> list[Tensor]:
        shapes = [(wide, *(side >> level for side in self.size)) for level, wide in enumerate(self.wide, 1)]
        rows = features.split([wide * height * across for wide, height, across in shapes], 1)
        return [row.unflatten(1, shape) for row, shape in zip(rows, shapes, strict=True)]

    def _drawn(self, streams: list[list[Tensor]], present: Tensor | None) -> Tensor:
        here = self.here([maps[0] for maps in streams], present)
        joined = [join([maps[level] for maps in streams], here) for level, join in enumerate(self.joins)]
        image: Tensor = self.decoder([*joined, *self.trunk(joined[-1])])
        return image


def _join(operation: str, images: int, wide: int) -> nn.Module:
    if operation in ("average", "align"):
        return Average()
    return Concat(images, wide) if operation == "concat" else Attention(images, wide)


def apart(ours: Tensor, theirs: Tensor) -> Tensor:
    """The squared MMD of the pooled maps of a batch (B, C, h, w), a scalar, with a Gaussian kernel
    as wide as they are apart.
    """
    pooled = torch.cat([each.mean((2, 3)) for each in (ours, theirs)])
    squares = torch.cdist(pooled, pooled).square()
    kernel = (-squares / squares.mean().detach().clamp_min(1e-12)).exp()
    sign = torch.ones(len(pooled), device=pooled.device)
    sign[len(ours) :] = -1
    return sign @ kernel @ sign / len(ours) ** 2


def translation_fusion(
    task: Task,
    operation: Operation = "concat",
    place: Place = "all",
    width: OneOrMore = 16,
    levels: TwoOrMore = 4,
) -> TranslationFusion:
    """Translation from all images: maps fused by concat, average, align or attention, at a place.

    `align` is the average of maps that recipe 'pix2pix' draws together; other recipes leave them.

    Args:
        operation: how maps are fused.
        place: behind the first convolution, the middle one, the last, or all.
        width, levels: see `harness.models.dense.pix2pix.pix2pix`; published are 64 and 8.

    Raises:
        BadInput: the task asks for no image, or an image cannot be halved so often.
    """
    return TranslationFusion(task, task.names, operation, place, width, levels)
