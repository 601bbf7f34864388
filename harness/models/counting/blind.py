"""Baselines that see half of what is asked: what they reach, the data give away."""

from __future__ import annotations

from torch import Tensor, nn

from harness.models.counting.backbone import CHANNELS, STATE, Grid, Question, image_and_question
from harness.models.fused import Fused, without_missing
from harness.tasks import Task


class Pool(nn.Module):
    """A classifier of the mean of a grid, or of a question's state."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.classify = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, outputs)
        )

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        (x,) = without_missing(features, here)
        logits: Tensor = self.classify(x.flatten(2).mean(2) if x.ndim > 2 else x)
        return logits


def question_blind(task: Task) -> Fused:
    """Counts without the question: what the image alone gives away.

    Raises:
        BadInput: the task has no image or no question.
    """
    image, _ = image_and_question(task)
    return Fused(task, {image.name: Grid(image)}, Pool(CHANNELS, task.width))


def image_blind(task: Task) -> Fused:
    """Counts without the image: what the question alone gives away.

    Raises:
        BadInput: the task has no image or no question.
    """
    _, question = image_and_question(task)
    return Fused(task, {question.name: Question(question)}, Pool(STATE, task.width))
