"""Early fusion: the tokens of all modalities in one sequence, before one encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.encoders import tokenizer
from harness.models.fused import Fused, without_missing
from harness.tasks import Task

WIDTH, SEGMENTS = 64, 12


class Early(nn.Module):
    """A convolutional encoder over the joint sequence of tokens, (B, n_m, width) per modality."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool1d(SEGMENTS),
            nn.Flatten(),
            nn.Linear(64 * SEGMENTS, 64),
            nn.ReLU(),
            nn.Linear(64, outputs),
        )

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        sequence = torch.cat(without_missing(features, here), dim=1)
        answer: Tensor = self.encoder(sequence.transpose(1, 2))
        return answer


def early(task: Task) -> Fused:
    """Early fusion: one encoder on the concatenated tokens (patches, log-mel frames,
    characters).
    """
    tokenizers = {modality.name: tokenizer(modality, WIDTH) for modality in task.modalities}
    return Fused(task, tokenizers, Early(WIDTH, task.width))
