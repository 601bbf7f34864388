"""MMTM, the multimodal transfer module (Joze et al., CVPR 2020): streams that scale each other's
channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from harness.models.encoders import channels_first
from harness.models.fused import Fused, without_missing
from harness.models.fusion.mean import mean_of_present
from harness.models.option_types import Positive
from harness.tasks import Modality, Task

CHANNELS = {
    "image": (32, 48, 64),
    "video": (16, 32, 64),
    "audio": (48, 48, 64),
    "text": (32, 48, 64),
    "features": (64, 64, 64),
}
"""Per kind, the channels after each stage of its stream."""
GRID = 2  # positions per axis that a stream's classifier is given
RATIO = 4


class MMTM(nn.Module):
    """Squeeze every stream to a joint vector, and let it scale the channels of each: gate_scale ·
    σ(E_m) ⊙ x_m.

    Args:
        channels: of each stream; their ranks and sizes may differ.
        gate_scale: 2 as in the paper, where no evidence changes nothing, or 1 as in its code.
        ratio: the channels of all streams per value of the joint vector.
    """

    def __init__(self, channels: Sequence[int], gate_scale: float = 2.0, ratio: float = RATIO) -> None:
        super().__init__()
        joint = max(1, int(sum(channels) / ratio))
        self.gate_scale = gate_scale
        self.squeeze = nn.Linear(sum(channels), joint)
        self.excite = nn.ModuleList(nn.Linear(joint, count) for count in channels)

    def forward(self, streams: list[Tensor], here: Tensor) -> list[Tensor]:
        """The streams (B, C_m, ...) with scaled channels; a missing one is squeezed to zeros; bool
        (B, M) marks the present ones.
        """
        squeezed = [x.flatten(1).unflatten(1, (x.shape[1], -1)).mean(2) for x in streams]
        joint = self.squeeze(torch.cat(without_missing(squeezed, here), dim=1)).relu()
        gates = [self.gate_scale * excite(joint).sigmoid() for excite in self.excite]
        return [x * gate.reshape(*gate.shape, *[1] * (x.ndim - 2)) for x, gate in zip(streams, gates, strict=True)]


class Level(nn.Module):
    """The next stage of every stream, and an exchange after it."""

    def __init__(self, stages: Sequence[nn.Module], channels: Sequence[int], gate_scale: float) -> None:
        super().__init__()
        self.stages, self.exchange = nn.ModuleList(stages), MMTM(channels, gate_scale)

    def forward(self, streams: list[Tensor], here: Tensor) -> list[Tensor]:
        exchanged: list[Tensor] = self.exchange([stage(x) for stage, x in zip(self.stages, streams, strict=True)], here)
        return exchanged


class Streams(nn.Module):
    """The part after the first stage of each stream: an exchange, further stages with exchanges,
    the mean of the present logits.
    """

    def __init__(self, kinds: Sequence[str], outputs: int, gate_scale: float) -> None:
        super().__init__()
        levels = list(zip(*(CHANNELS[kind] for kind in kinds), strict=True))  # per level, the channels of every stream
        self.exchange = MMTM(levels[0], gate_scale)
        self.levels = nn.ModuleList(
            Level([stage(kind, *each) for kind, *each in zip(kinds, before, after, strict=True)], after, gate_scale)
            for before, after in pairwise(levels)
        )
        self.heads = nn.ModuleList(_head(kind, count, outputs) for kind, count in zip(kinds, levels[-1], strict=True))

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        streams = self.exchange(features, here)
        for level in self.levels:
            streams = level(streams, here)
        return mean_of_present([head(x) for head, x in zip(self.heads, streams, strict=True)], here)


def stage(kind: str, channels: int, wider: int) -> nn.Sequential:
    """One stage of a stream: convolution and pooling to half the positions, rounded up; linear for
    features.
    """
    if kind == "features":
        return nn.Sequential(nn.Linear(channels, wider), nn.ReLU())
    if kind == "image":
        return nn.Sequential(nn.Conv2d(channels, wider, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))
    if kind == "video":
        return nn.Sequential(nn.Conv3d(channels, wider, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2, ceil_mode=True))
    return nn.Sequential(nn.Conv1d(channels, wider, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True))


def _head(kind: str, channels: int, outputs: int) -> nn.Module:
    if kind == "features":
        return nn.Linear(channels, outputs)
    pools = {"image": (nn.AdaptiveAvgPool2d(GRID), GRID**2), "video": (nn.AdaptiveAvgPool3d(GRID), GRID**3)}
    pool, positions = pools.get(kind, (nn.AdaptiveMaxPool1d(GRID), GRID))
    return nn.Sequential(pool, nn.Flatten(), nn.Linear(channels * positions, outputs))


def _first(modality: Modality) -> nn.Sequential:
    """The part of a stream before the first exchange."""
    stem = channels_first(modality)
    with torch.no_grad():
        channels = stem(torch.zeros(1, *modality.shape)).shape[1]
    return nn.Sequential(stem, stage(modality.kind, channels, CHANNELS[modality.kind][0]))


def mmtm(task: Task, gate_scale: Positive = 2.0) -> Fused:
    """MMTM: a stream of stages per modality; after each stage all of them scale each other's
    channels.
    """
    first = {modality.name: _first(modality) for modality in task.modalities}
    kinds = [modality.kind for modality in task.modalities]
    return Fused(task, first, Streams(kinds, task.width, gate_scale))
