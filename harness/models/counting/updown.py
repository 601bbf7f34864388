"""UpDown (Anderson et al., CVPR 2018), as Trott et al. count with it: attention over regions, a
classifier.
"""

from __future__ import annotations

from torch import Tensor, nn

from harness.models.counting.backbone import STATE, Places
from harness.models.counting.regions import FIXED, REGION, GatedTanh, Regions, of_regions
from harness.tasks import Task

HIDDEN = 128


class UpDown(nn.Module):
    """α = softmax_i(w GTU([q, v_i])); a classifier of relu(W Σ α_i v_i) ⊗ relu(U q).

    The softmax is over the same number of regions whatever the picture, as published (36): what is
    no region takes part with features of zero. An average over those that are real alone is the
    same of one object and of many like it.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.score, self.places, self.weigh = GatedTanh(), Places(REGION), nn.Linear(REGION, 1)
        self.seen, self.asked = nn.Linear(REGION, HIDDEN), nn.Linear(STATE, HIDDEN)
        self.classify = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))

    def forward(self, regions: Regions, question: Tensor) -> Tensor:
        """Logits (B, outputs)."""
        seen = (self.weights(regions, question)[:, :, None] * regions.features).sum(1)
        logits: Tensor = self.classify(self.seen(seen).relu() * self.asked(question).relu())
        return logits

    def weights(self, regions: Regions, question: Tensor) -> Tensor:
        """The weight of each region, (B, n); what is no region shows none, but takes its share."""
        features = regions.features * regions.real[:, :, None]
        fit: Tensor = self.weigh(self.places(self.score(features, question))).squeeze(2)
        return fit.softmax(1) * regions.real


def updown(task: Task, proposals: str = FIXED) -> nn.Module:
    """UpDown: softmax attention over regions by the question, the attended features classified.

    Args:
        proposals: see `of_regions`.

    Raises:
        BadInput: the task has no image, question or proposals.
    """
    return of_regions(task, UpDown(task.width), proposals)
