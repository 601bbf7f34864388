"""MoVie (Nguyen, Goswami & Chen, ICLR 2021): convolution over the image, modulated by the question
at every place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.counting.backbone import CHANNELS, STATE, Grid, Places, Question, image_and_question
from harness.models.counting.counting_recipe import Detecting
from harness.models.counting.mutan import FUSED, RANK_WITH_ATTENTION, Glimpse, Mutan
from harness.models.fused import Fused, without_missing
from harness.models.recipe import Stage
from harness.tasks import Batch, Task

BOTTLENECKS, NARROW = 4, 32
SQUEEZE = 4


class Bottleneck(nn.Module):
    """A residual bottleneck whose first 1×1 convolution sees v̄ = v + Wᵀ(v ⊗ Δγ), Δγ a linear map
    of the question.

    As the paper computes it: conv(v̄) = conv(v) + W_c(v ⊗ Δγ), W_c of the narrow width, before the
    first norm; a squeeze-and-excitation at its end, then the unmodulated shortcut.
    """

    def __init__(self, channels: int = CHANNELS, narrow: int = NARROW, state: int = STATE) -> None:
        super().__init__()
        self.gamma = nn.Linear(state, channels)
        self.modulate = nn.Conv2d(channels, narrow, 1, bias=False)
        self.reduce = nn.Conv2d(channels, narrow, 1, bias=False)
        self.middle = nn.Sequential(
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, narrow, 3, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // SQUEEZE, 1),
            nn.ReLU(),
            nn.Conv2d(channels // SQUEEZE, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, v: Tensor, question: Tensor) -> Tensor:
        """The grid (B, C, h, w) after the block; `question` (B, state)."""
        x = self.middle(self.modulated(v, question))
        out: Tensor = (x * self.excite(x) + v).relu()
        return out

    def modulated(self, v: Tensor, question: Tensor) -> Tensor:
        """conv(v̄), (B, narrow, h, w)."""
        reduced: Tensor = self.reduce(v) + self.modulation(v, question)
        return reduced

    def modulation(self, v: Tensor, question: Tensor) -> Tensor:
        """W_c(v ⊗ Δγ), (B, narrow, h, w)."""
        added: Tensor = self.modulate(v * self.gamma(question)[:, :, None, None])
        return added


class Counter(nn.Module):
    """Four modulated bottlenecks and the mean over all places: (B, C, h, w) and (B, state) to (B,
    C), normed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bottlenecks = nn.ModuleList(Bottleneck() for _ in range(BOTTLENECKS))
        self.places = Places(CHANNELS)

    def forward(self, grid: Tensor, question: Tensor) -> Tensor:
        for bottleneck in self.bottlenecks:
            grid = bottleneck(grid, question)
        pooled: Tensor = self.places(grid.flatten(2).transpose(1, 2)).mean(1)
        return pooled

    def modulation(self, grid: Tensor, question: Tensor) -> Tensor:
        """Where the question changes what is seen, (B, h, w): the norm of W_c(v ⊗ Δγ), the mean
        over the bottlenecks.
        """
        norms = []
        for bottleneck in self.bottlenecks:
            assert isinstance(bottleneck, Bottleneck)
            norms.append(bottleneck.modulation(grid, question).norm(dim=1))
            grid = bottleneck(grid, question)
        return torch.stack(norms).mean(0)


class Movie(nn.Module):
    """The counter under a layer norm and a classifier; takes the features [grid, question]."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.counter = Counter()
        self.classify = nn.Sequential(
            nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, 2 * CHANNELS), nn.ReLU(), nn.Linear(2 * CHANNELS, outputs)
        )

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        grid, question = without_missing(features, here)
        logits: Tensor = self.classify(self.counter(grid, question))
        return logits

    def explained(self, features: list[Tensor], here: Tensor) -> tuple[int, Tensor]:
        """The modulation map of the image, (B, h, w)."""
        return 0, self.counter.modulation(*without_missing(features, here))


def movie(task: Task) -> Fused:
    """MoVie: four bottlenecks over the image, modulated by the question, global average pooling, a
    classifier.

    Raises:
        BadInput: the task has no image or no question.
    """
    image, question = image_and_question(task)
    return Fused(task, {image.name: Grid(image), question.name: Question(question)}, Movie(task.width))


class ThreeBranches(nn.Module):
    """MoVie as a module of a question-answering model: m a MUTAN fusion with attention, c the
    counter, q the question.

    Three classifiers, on LN(q + m + c), LN(m) and LN(q + c); the recipe `movie-vqa` sums their
    losses, an answer is the first's.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.glimpse, self.fuse = Glimpse(), Mutan(CHANNELS, STATE, FUSED, RANK_WITH_ATTENTION)
        self.counter, self.widen = Counter(), nn.Linear(CHANNELS, FUSED)
        self.asked = nn.Linear(STATE, FUSED)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(FUSED), nn.Linear(FUSED, FUSED), nn.ReLU(), nn.Linear(FUSED, outputs))
            for _ in range(3)
        )

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        logits: Tensor = self.heads[0](self.joined(features, here)[0])
        return logits

    def explained(self, features: list[Tensor], here: Tensor) -> tuple[int, Tensor]:
        """The modulation map of the image, (B, h, w)."""
        return 0, self.counter.modulation(*without_missing(features, here))

    def branches(self, features: list[Tensor], here: Tensor) -> list[Tensor]:
        """The logits of all three branches, each (B, outputs), as training needs them."""
        return [head(x) for head, x in zip(self.heads, self.joined(features, here), strict=True)]

    def joined(self, features: list[Tensor], here: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q + m + c, m and q + c, each (B, 128)."""
        grid, question = without_missing(features, here)
        m, c, q = (
            self.fuse(self.glimpse(grid, question), question),
            self.widen(self.counter(grid, question)),
            self.asked(question),
        )
        return q + m + c, m, q + c


class Branches(Detecting):
    """The sum of the losses of MoVie's three branches inside a question-answering model, after
    learning to detect.
    """

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage over all parameters.

        Raises:
            BadInput: the model has no three branches.
        """
        if not isinstance(model, Fused) or not isinstance(model.fusion, ThreeBranches):
            raise BadInput(
                "recipe 'movie-vqa' sums three branches, which this model does not have: train model 'movie-vqa'"
            )
        self.branched = model
        return super().setup(model, task, epochs)

    def counted(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean loss of the batch, of each branch, summed."""
        features = {name: self.branched.encode(name, batch.inputs[name]) for name in self.branched.encoded}
        assert isinstance(self.branched.fusion, ThreeBranches)
        branches = self.branched.fusion.branches(*self.branched.ordered(features, batch.present))
        return torch.stack([self.loss(branch, batch.targets) for branch in branches]).sum()


def movie_vqa(task: Task) -> Fused:
    """MoVie as a counting module beside a MUTAN with attention, for questions of every type;
    trained by recipe movie-vqa.

    Raises:
        BadInput: the task has no image or no question.
    """
    image, question = image_and_question(task)
    return Fused(task, {image.name: Grid(image), question.name: Question(question)}, ThreeBranches(task.width))
