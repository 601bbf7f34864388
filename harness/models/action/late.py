"""Late fusion of actions: the mean of the logits of a skeleton's stream and a film's."""

from __future__ import annotations

from torch import Tensor, nn

from harness.models.action.streams import TwoStreams, two_streams
from harness.models.fused import Fused
from harness.models.fusion.mean import mean_of_present
from harness.tasks import Task


class Late(nn.Module):
    """Streams that meet only in the mean of their present logits."""

    def __init__(self, parts: TwoStreams) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(*stages, head) for stages, head in zip(parts.stages, parts.heads, strict=True)
        )

    def logits(self, features: list[Tensor], here: Tensor) -> list[Tensor]:
        """Those of each stream, (B, K)."""
        return [stream(x) for stream, x in zip(self.streams, features, strict=True)]

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        return mean_of_present(self.logits(features, here), here)


def action_late(task: Task) -> Fused:
    """Late fusion: HCN on the skeleton and an inflated net on the film, the mean of their logits.

    Raises:
        BadInput: the task has no skeleton or no video, or several.
    """
    parts = two_streams(task, "action-late")
    return Fused(task, parts.first, Late(parts))
