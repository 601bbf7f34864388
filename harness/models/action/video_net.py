"""The video stream of MMTM's fusion (Joze et al., CVPR 2020), small: a residual net whose blocks
see neighbouring frames in their first convolution only, an inflated ResNet (published: ResNet-50).
"""

from __future__ import annotations

from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.action.hcn import Alone
from harness.models.encoders import channels_first
from harness.models.fused import Fused
from harness.models.option_types import OneOrMore, Share
from harness.tasks import Modality, Task

STAGES = 3
WIDTH = 16  # channels after the first stage; each stage doubles them


class Inflated(nn.Module):
    """A residual block on (B, C, T, H, W) that halves the pixels along both axes; its first
    convolution is inflated in time.
    """

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(narrow, wide, 3, stride=(1, 2, 2), padding=1, bias=False),
            nn.BatchNorm3d(wide),
            nn.ReLU(),
            nn.Conv3d(wide, wide, (1, 3, 3), padding=(0, 1, 1), bias=False),
            nn.BatchNorm3d(wide),
        )
        self.short = nn.Sequential(nn.Conv3d(narrow, wide, 1, stride=(1, 2, 2), bias=False), nn.BatchNorm3d(wide))

    def forward(self, x: Tensor) -> Tensor:
        after: Tensor = (self.layers(x) + self.short(x)).relu()
        return after


def video_stages(width: int = WIDTH) -> tuple[nn.ModuleList, list[int]]:
    """The blocks after the first layer, and the channels after each."""
    channels = [width * 2**level for level in range(STAGES)]
    blocks = [Inflated(narrow, wide) for narrow, wide in zip([width, *channels], channels, strict=False)]
    return nn.ModuleList(blocks), channels


def video_first(modality: Modality, width: int = WIDTH) -> nn.Module:
    """A film in raw units to maps (B, width, T, H, W)."""
    return nn.Sequential(
        channels_first(modality),
        nn.Conv3d(modality.shape[0], width, (1, 3, 3), padding=(0, 1, 1), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(),
    )


def video_head(channels: int, outputs: int, dropout: float) -> nn.Module:
    """The mean over frames and pixels, then a linear map."""
    return nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, outputs))


def video_of(task: Task, model: str) -> Modality:
    """The modality that is a film.

    Raises:
        BadInput: there is none, or more than one.
    """
    found = [each for each in task.modalities if each.kind == "video"]
    if len(found) != 1:
        raise BadInput(
            f"model {model!r} reads one video, and task {task.name!r} has {len(found) or 'none'}: choose another model"
        )
    return found[0]


def video_net(task: Task, width: OneOrMore = WIDTH, dropout: Share = 0.2) -> Fused:
    """An inflated residual net: what a person does, from a film alone.

    Args:
        width: channels after the first stage.

    Raises:
        BadInput: the task has no video, or several.
    """
    modality = video_of(task, "video-net")
    stages, channels = video_stages(width)
    alone = Alone(stages, video_head(channels[-1], task.width, dropout))
    return Fused(task, {modality.name: video_first(modality, width)}, alone)
