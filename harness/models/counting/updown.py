"""UpDown (Anderson et al., CVPR 2018), as Trott et al. count with it: attention over regions, a classifier."""

from __future__ import annotations

from torch import Tensor, nn

from harness.models.counting.asked import STATE, Fit
from harness.models.counting.regions import FIXED, REGION, GatedTanh, Regions, of_regions, shares
from harness.tasks import Task

HIDDEN = 128


class UpDown(nn.Module):
    """α = softmax_i(w GTU([q, v_i])); a classifier of relu(W Σ α_i v_i) ⊗ relu(U q)."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.score, self.weigh = GatedTanh(), Fit(REGION, 1)
        self.seen, self.asked = nn.Linear(REGION, HIDDEN), nn.Linear(STATE, HIDDEN)
        self.classify = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))

    def forward(self, regions: Regions, question: Tensor) -> Tensor:
        """Logits (B, outputs)."""
        seen = (self.weights(regions, question)[:, :, None] * regions.features).sum(1)
        logits: Tensor = self.classify(self.seen(seen).relu() * self.asked(question).relu())
        return logits

    def weights(self, regions: Regions, question: Tensor) -> Tensor:
        """The weight of each region, (B, n); of a picture without regions all are 0."""
        fit: Tensor = self.weigh(self.score(regions.features, question)).squeeze(2)
        return shares(fit, regions.real)


def updown(task: Task, proposals: str = FIXED) -> nn.Module:
    """UpDown: softmax attention over regions by the question, the attended features classified.

    Args:
        proposals: see `of_regions`.

    Raises:
        BadInput: the task has no image, question or proposals.
    """
    return of_regions(task, UpDown(task.problem.width), proposals)
