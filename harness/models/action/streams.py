"""A skeleton's stream and a film's, side by side: what the fusions of actions share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from harness.models.action.hcn import Positions, skeleton_of, skeleton_stages
from harness.models.action.video_net import video_first, video_head, video_of, video_stages
from harness.tasks import Task

HIDDEN, SKELETON_DROPOUT, VIDEO_DROPOUT = 256, 0.4, 0.2
LEVELS = 3


@dataclass(frozen=True, eq=False)
class TwoStreams:
    """The parts of both streams, skeleton first.

    Attributes:
        first: by modality, from raw units to the maps before the first stage.
        stages: per stream, its stages.
        channels: per stream, the channels after each stage.
        heads: per stream, from the last stage to logits.
    """

    first: dict[str, nn.Module]
    stages: tuple[nn.ModuleList, nn.ModuleList]
    channels: tuple[list[int], list[int]]
    heads: nn.ModuleList

    @property
    def levels(self) -> list[tuple[int, int]]:
        """The channels of both streams after each stage."""
        return list(zip(*self.channels, strict=True))


def two_streams(task: Task, model: str) -> TwoStreams:
    """HCN and the video net, to be fused.

    Raises:
        BadInput: the task has no skeleton or no video, or several.
    """
    skeleton, video = skeleton_of(task, model), video_of(task, model)
    ours, ours_wide = skeleton_stages(skeleton, HIDDEN, SKELETON_DROPOUT)
    theirs, theirs_wide = video_stages()
    first = {
        skeleton.name: Positions(skeleton.shape[1], skeleton.shape[2], SKELETON_DROPOUT),
        video.name: video_first(video),
    }
    heads = nn.ModuleList(
        [nn.Linear(ours_wide[-1], task.width), video_head(theirs_wide[-1], task.width, VIDEO_DROPOUT)]
    )
    return TwoStreams(first, (ours, theirs), (ours_wide, theirs_wide), heads)


def pooled(x: Tensor, channels: int) -> Tensor:
    """The mean (B, C) of maps with so many channels over everything else: positions, frames, and
    the persons before the channels.
    """
    if x.shape[1] == channels:
        return x.flatten(2).mean(2) if x.ndim > 2 else x
    return x.flatten(3).mean((1, 3))
