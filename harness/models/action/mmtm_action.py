"""MMTM (Joze et al., CVPR 2020) between HCN and a video net: after each of three stages both
streams scale each other's channels.

The reference code differs: it feeds the next stage of the film the maps before the gate, gates the
first person only, and takes the first person's last maps for all. `as_published` does the same.
"""

from __future__ import annotations

from torch import Tensor, nn

from harness.models.action.streams import TwoStreams, two_streams
from harness.models.fused import Fused
from harness.models.fusion.mean import mean_of_present
from harness.models.fusion.mmtm import MMTM
from harness.models.option_types import Positive
from harness.tasks import Task

RATIO = 2.0  # the joint vector has as many values as both streams have channels, divided by this


class Gated(nn.Module):
    """The stages of both streams with an MMTM after each, and the mean of their present logits."""

    def __init__(self, parts: TwoStreams, gate_scale: float, ratio: float, as_published: bool) -> None:
        super().__init__()
        self.streams = parts.stages
        self.stages, self.heads = nn.ModuleList(parts.stages), parts.heads
        self.channels = parts.levels
        self.exchanges = nn.ModuleList(MMTM(level, gate_scale, ratio) for level in self.channels)
        self.as_published = as_published

    def logits(self, features: list[Tensor], here: Tensor) -> list[Tensor]:
        """Those of each stream, (B, K)."""
        streams = list(features)
        for level, exchange in enumerate(self.exchanges):
            streams = [stages[level](x) for stages, x in zip(self.streams, streams, strict=True)]
            streams = self._gated(exchange, streams, here, level == len(self.exchanges) - 1)
        return [head(x) for head, x in zip(self.heads, streams, strict=True)]

    def _gated(self, exchange: nn.Module, streams: list[Tensor], here: Tensor, last: bool) -> list[Tensor]:
        skeleton, video = streams
        persons = skeleton.ndim == PERSONS
        seen = skeleton.transpose(1, 2) if persons else skeleton  # channels first
        if persons and self.as_published:
            first, _ = exchange([seen[:, :, 0], video], here)
            return [first[:, None].expand_as(skeleton), video]
        ours, theirs = exchange([seen, video], here)
        ours = ours.transpose(1, 2) if persons else ours
        return [ours, theirs if last or not self.as_published else video]

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        return mean_of_present(self.logits(features, here), here)


PERSONS = 5  # axes of the maps of several persons


def action_mmtm(task: Task, gate_scale: Positive = 2.0, ratio: Positive = RATIO, as_published: bool = False) -> Fused:
    """MMTM for actions: a skeleton's stream and a film's scale each other's channels.

    Args:
        gate_scale: 2 as in the paper, where no evidence changes nothing, or 1 as in its code.
        ratio: channels of both streams per value of the joint vector; the code for actions has 2.
        as_published: gate as the reference code does.

    Raises:
        BadInput: the task has no skeleton or no video, or several.
    """
    parts = two_streams(task, "action-mmtm")
    return Fused(task, parts.first, Gated(parts, gate_scale, ratio, as_published))
