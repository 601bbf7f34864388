"""The Counter (Zhang, Hare & Prügel-Bennett, ICLR 2018): counts from attention and boxes,
duplicates removed, differentiably.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.counting.backbone import STATE, Fit
from harness.models.counting.regions import FIXED, REGION, GatedTanh, Regions, of_regions, overlaps, shares
from harness.models.counting.updown import HIDDEN
from harness.tasks import Counting, SoftCounting, Task

SEGMENTS = 16
OBJECTS = 10
ROOT = 1e-20  # the square root's slope at 0 is infinite
CERTAIN = 0.5


class Monotone(nn.Module):
    """A monotone piecewise-linear function from [0, 1] to [0, 1] with f(0) = 0 and f(1) = 1; the
    identity at first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((SEGMENTS + 1,), 1 / SEGMENTS))
        self.weight.data[0] = 0

    def forward(self, x: Tensor) -> Tensor:
        """f(x), of x of any shape."""
        weight = self.weight.abs()
        reached = (weight / weight.sum()).cumsum(0)
        place = SEGMENTS * x
        below = place.detach().long().clamp(0, SEGMENTS - 1)
        part = place - below
        value: Tensor = reached[below] + part * (reached[below + 1] - reached[below])
        return value


class Counter(nn.Module):
    """Counts soft selections of boxes.

    Copies of an object are told by their overlap and counted once; see Zhang et al., eqs. 4-16.

    Args:
        objects: how many boxes of the largest attention are looked at, and the largest count.
    """

    def __init__(self, objects: int = OBJECTS) -> None:
        super().__init__()
        self.objects = objects
        self.f = nn.ModuleList(Monotone() for _ in range(8))

    def forward(self, logits: Tensor, boxes: Tensor) -> Tensor:
        """The count as two shares of neighbouring numbers times its confidence, (B, objects + 1).

        Args:
            logits: of each box to be counted, (B, n); -inf for what is no box.
            boxes: (B, n, 4): left, top, right, bottom.
        """
        a, apart = self.chosen(logits, boxes)
        attended, f = a[:, :, None] * a[:, None], self.f
        single = f[0](attended) * f[1](apart)  # edges within an object removed
        copies = self.copies(a, apart, attended)
        edges = single / (copies[:, :, None] * copies[:, None])
        count = (edges.sum((1, 2)) + (f[0](a.square()) / copies).sum(1) + ROOT).sqrt()
        surely = (f[5](a) - CERTAIN).abs().mean(1) + (f[6](apart) - CERTAIN).abs().mean((1, 2))
        counted: Tensor = self.interpolated(count) * f[7](surely)[:, None]
        return counted

    def chosen(self, logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Attention (B, objects) of the boxes with most of it, and their distances 1 - IoU (B,
        objects, objects).
        """
        best = min(self.objects, logits.shape[1])
        weights, rows = logits.topk(best, dim=1)
        taken = boxes.gather(1, rows[:, :, None].expand(-1, -1, boxes.shape[2]))
        missing = self.objects - best
        a = nn.functional.pad(weights.sigmoid(), (0, missing))
        taken = nn.functional.pad(taken, (0, 0, 0, missing))
        return a, 1 - overlaps(taken, taken)[0]

    def copies(self, a: Tensor, apart: Tensor, attended: Tensor) -> Tensor:
        """How many boxes show the object of each, (B, objects): those of like attention that lie
        alike to all others.
        """
        f = self.f
        relation = f[3](attended) * f[4](apart)
        alike = f[2](1 - (relation[:, :, None] - relation[:, None]).abs()).prod(3)
        similar = alike * f[2](1 - (a[:, :, None] - a[:, None]).abs())
        copies: Tensor = similar.sum(2)
        return copies

    def interpolated(self, count: Tensor) -> Tensor:
        """A real count (B,) as shares of the two whole numbers beside it, (B, objects + 1)."""
        count = count.clamp(0, self.objects)
        return (1 - (count[:, None] - torch.arange(self.objects + 1, device=count.device)).abs()).clamp_min(0)


class Counted(nn.Module):
    """The Counter's answer beside attended features, and a classifier of both."""

    def __init__(self, outputs: int, objects: int) -> None:
        super().__init__()
        self.score, self.weigh = GatedTanh(), Fit(REGION, 1)
        self.counter = Counter(objects)
        self.seen, self.asked, self.counts = (
            nn.Linear(REGION, HIDDEN),
            nn.Linear(STATE, HIDDEN),
            nn.Linear(objects + 1, HIDDEN),
        )
        self.classify = nn.Sequential(
            nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs)
        )

    def forward(self, regions: Regions, question: Tensor) -> Tensor:
        """Logits (B, outputs)."""
        logits = self.attention(regions, question)
        seen = (shares(logits, regions.real)[:, :, None] * regions.features).sum(1)
        fused = (
            self.seen(seen).relu() * self.asked(question).relu()
            + self.counts(self.counter(logits, regions.boxes[..., :4])).relu()
        )
        answer: Tensor = self.classify(fused)
        return answer

    def weights(self, regions: Regions, question: Tensor) -> Tensor:
        """How much each region counts, (B, n): the attention of those looked at, shared among the
        copies of an object.
        """
        logits = self.attention(regions, question)
        a, apart = self.counter.chosen(logits, regions.boxes[..., :4])
        share = a / self.counter.copies(a, apart, a[:, :, None] * a[:, None])
        best = min(self.counter.objects, logits.shape[1])
        return torch.zeros_like(logits).scatter(1, logits.topk(best, dim=1).indices, share[:, :best])

    def attention(self, regions: Regions, question: Tensor) -> Tensor:
        """The logit of each region to be counted, (B, n); -inf for what is no region."""
        fit: Tensor = self.weigh(self.score(regions.features, question)).squeeze(2)
        return fit.masked_fill(~regions.real, float("-inf"))


def counter(task: Task, proposals: str = FIXED) -> nn.Module:
    """The Counter: differentiable counting of attended boxes without their copies, beside attended
    features.

    Args:
        proposals: see `of_regions`.

    Raises:
        BadInput: the task has no image, question or proposals.
    """
    problem = task.problem
    objects = task.width - 1 if isinstance(problem, Counting | SoftCounting) else OBJECTS
    return of_regions(task, Counted(task.width, objects), proposals)
