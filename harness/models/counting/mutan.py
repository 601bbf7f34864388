"""MUTAN (Ben-younes et al., ICCV 2017): a bilinear fusion of image and question whose core has few
slices.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from harness.models.counting.backbone import CHANNELS, STATE, Grid, Places, Question, image_and_question
from harness.models.fused import Fused, without_missing
from harness.tasks import Task

FUSED, DROPOUT = 128, 0.2
GLIMPSES = 2
RANK, RANK_WITH_ATTENTION = 10, 5


class Mutan(nn.Module):
    """z = Σ_r (A_r x_v) ⊗ (B_r x_q), x_v = tanh(W_v v) and x_q = tanh(W_q q); `rank` slices.

    With biases of 0 and no tanh, every output is bilinear in v and q, of a rank of at most `rank`.
    """

    def __init__(self, seen: int, asked: int, out: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.seen, self.asked = (
            nn.Sequential(nn.Linear(seen, FUSED), nn.Tanh()),
            nn.Sequential(nn.Linear(asked, FUSED), nn.Tanh()),
        )
        self.seen_slices, self.asked_slices = nn.Linear(FUSED, out * rank), nn.Linear(FUSED, out * rank)

    def forward(self, v: Tensor, q: Tensor) -> Tensor:
        """(..., out) of v (..., seen) and q (..., asked), which broadcast."""
        slices = self.seen_slices(self.seen(v)) * self.asked_slices(self.asked(q))
        z: Tensor = slices.unflatten(-1, (self.rank, -1)).sum(-2)
        return z


class Glimpse(nn.Module):
    """Where the question looks: a MUTAN fusion at every place of the grid, a softmax over places,
    the mean of what is there.

    Args:
        times: how often; the means stand side by side.
    """

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        self.fuse, self.places = Mutan(CHANNELS, STATE, CHANNELS, RANK_WITH_ATTENTION), Places(CHANNELS)
        self.weigh = nn.Linear(CHANNELS, times)

    def forward(self, grid: Tensor, question: Tensor) -> Tensor:
        """(B, times · C) of a grid (B, C, h, w) and a question (B, state)."""
        places = _places(grid)
        return (self.weights(places, question).transpose(1, 2) @ places).flatten(1)

    def weights(self, places: Tensor, question: Tensor) -> Tensor:
        """How much of each look each place gets, (B, n, times), of places (B, n, C)."""
        fit: Tensor = self.weigh(self.places(self.fuse(places, question[:, None]).relu()))
        return fit.softmax(1)


def _places(grid: Tensor) -> Tensor:
    return rearrange(grid, "batch channel height width -> batch (height width) channel")


class Answer(nn.Module):
    """A fusion of two glimpses of the image, or of its mean, with the question, and a classifier;
    takes [grid, question].

    The mean is normed over the batch: an object more or less changes it by a place or two of
    hundreds, too little to learn from.
    """

    def __init__(self, outputs: int, attention: bool) -> None:
        super().__init__()
        self.glimpse = Glimpse(GLIMPSES) if attention else None
        self.normed = nn.Identity() if attention else nn.BatchNorm1d(CHANNELS)
        self.fuse = (
            Mutan(GLIMPSES * CHANNELS, STATE, FUSED, RANK_WITH_ATTENTION)
            if attention
            else Mutan(CHANNELS, STATE, FUSED, RANK)
        )
        self.classify = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(FUSED, outputs))

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        grid, question = without_missing(features, here)
        seen = self.normed(grid.mean((2, 3))) if self.glimpse is None else self.glimpse(grid, question)
        logits: Tensor = self.classify(self.fuse(seen, question))
        return logits

    def explained(self, features: list[Tensor], here: Tensor) -> tuple[int, Tensor | None]:
        """Where the question looks in the image, (B, h, w), the mean of its glimpses."""
        grid, question = without_missing(features, here)
        return 0, None if self.glimpse is None else self.glimpse.weights(_places(grid), question).mean(2).view(
            len(grid), *grid.shape[2:]
        )


def mutan(task: Task, attention: bool = True) -> Fused:
    """MUTAN: a low-rank bilinear fusion of two glimpses of the image and the question, a
    classifier.

    Args:
        attention: whether the question says where to look, with slices of rank 5; otherwise the
            image's mean, of rank 10.

    Raises:
        BadInput: the task has no image or no question.
    """
    image, question = image_and_question(task)
    return Fused(task, {image.name: Grid(image), question.name: Question(question)}, Answer(task.width, attention))
