"""The backbone of all counting models: an image as a grid of features, a question as a state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.encoders import Centred, convolved
from harness.tasks import Counting, Modality, SoftCounting, Task

CHANNELS, STATE = 64, 64  # of the grid, of the question
WORD = 32
IMAGE_AXES = 3


def image_and_question(task: Task) -> tuple[Modality, Modality]:
    """The one image, or grid of features (C, H, W), and the one text of a task.

    Raises:
        BadInput: the task has no such input, or several.
    """
    images = [each for each in task.modalities if each.kind in ("image", "features") and len(each.shape) == IMAGE_AXES]
    texts = [each for each in task.modalities if each.kind == "text"]
    if len(images) != 1 or len(texts) != 1:
        raise BadInput(
            f"a counting model answers one question about one image (C, H, W); task {task.name!r} has {len(texts)}"
            f" texts and {len(images)} such images: take a task like counting, vqa or bccd"
        )
    return images[0], texts[0]


class Grid(nn.Module):
    """An image (B, C, H, W) in raw units to features (B, 64, h, w), a quarter of its size; a grid
    of features keeps its size.

    Two channels of its last layer's input give the position: from -1 at the left and the top to 1.
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        channels = modality.shape[0]
        if modality.kind == "image":
            self.stem = nn.Sequential(Centred(modality), *convolved(channels, 16, 2), *convolved(16, 32, 2))
        else:
            self.stem = nn.Sequential(nn.Conv2d(channels, 32, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.last = nn.Sequential(*convolved(32 + 2, CHANNELS, 1))

    def forward(self, x: Tensor) -> Tensor:
        grid: Tensor = self.last(placed(self.stem(x)))
        return grid


class Fit(nn.Linear):
    """How well each place fits the question, a logit by which the model itself counts or looks: (B,
    n, width) to (B, n, 1).

    Places are regions, or the cells of the grid row by row. A recipe that grounds questions teaches
    it.
    """


class Places(nn.Identity):
    """For models without such a logit: passes on features of single places after fusion with the
    question, (B, n, width).

    Changes nothing. A recipe that grounds questions reads here by a layer of its own.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


def placed(grid: Tensor) -> Tensor:
    """A grid (B, C, h, w) with the places of its cells as two more channels."""
    height, width = grid.shape[2:]
    rows = torch.linspace(-1, 1, height, device=grid.device, dtype=grid.dtype)[:, None].expand(height, width)
    columns = torch.linspace(-1, 1, width, device=grid.device, dtype=grid.dtype).expand(height, width)
    return torch.cat([grid, torch.stack([columns, rows]).expand(len(grid), -1, -1, -1)], 1)


class Question(nn.Module):
    """One-hot words (B, n, vocabulary) to a state (B, 64): embeddings, a GRU, and of its states
    over all positions the largest.

    The largest, not the last, which has to carry every word across the padding; and embeddings of
    unit variance, as nn.Embedding has: a linear layer's are so small that the words are heard late.
    Each was needed to learn which objects a question means from a few thousand questions.
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.embedding = nn.Linear(modality.shape[-1], WORD, bias=False)
        nn.init.normal_(self.embedding.weight)
        self.gru = nn.GRU(WORD, STATE, batch_first=True)

    def forward(self, words: Tensor) -> Tensor:
        state: Tensor = self.gru(self.embedding(words))[0].amax(1)
        return state


def counts_of(task: Task) -> Counting | SoftCounting:
    """The counts that a task has as answers.

    Raises:
        BadInput: its answers are not counts.
    """
    if not isinstance(task.problem, Counting | SoftCounting):
        raise BadInput(
            f"this model answers counts only, but task {task.name!r} is not a counting task: "
            "take model movie or updown, by recipe counting"
        )
    return task.problem
