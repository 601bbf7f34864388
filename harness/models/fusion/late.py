"""Late fusion: the mean of the logits each modality gives alone, over those that are present."""

from __future__ import annotations

from torch import Tensor, nn

from harness.models.encoders import encoder
from harness.models.fused import Fused
from harness.models.fusion.mean import mean_of_present
from harness.tasks import Task

WIDTH = 64


class Late(nn.Module):
    """One linear classifier per modality, their logits averaged; zeros if none is present."""

    def __init__(self, size: int, modalities: int, outputs: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(size, outputs) for _ in range(modalities))

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        logits = [head(z) for head, z in zip(self.heads, features, strict=True)]
        return mean_of_present(logits, here)


def late(task: Task) -> Fused:
    """Late fusion: the mean of each modality's own logits."""
    encoders = {modality.name: encoder(modality, WIDTH) for modality in task.modalities}
    return Fused(task, encoders, Late(WIDTH, len(encoders), task.width))
