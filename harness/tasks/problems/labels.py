"""Several labels of one sample, each there or not, and right only where all are: multi-label
classification.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import Verdict
from harness.tasks.problems.problem import MOST_TALLIED

RANKED = 20  # samples with a label, and without it, with which its average precision has an interval
THERE = 0.0  # logits above this say that a label is there


@dataclass(frozen=True)
class MultiLabel:
    """K labels of which any number may be there; outputs are logits (B, K), targets (B, K) of 0
    and 1, int64.

    A sample fails if any label is wrong; its score is 1 if all labels are right. A logit of 0 is
    wrong either way.

    Attributes:
        labels: K.
        names: of the labels; their numbers where absent.
    """

    labels: int
    names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.labels,)

    def check_targets(self, targets: Tensor) -> None:
        if not 1 <= self.labels <= MOST_TALLIED // 2:
            raise BadInput(f"a multi-label problem takes 1 to {MOST_TALLIED // 2} labels, got {self.labels}")
        if self.names and len(self.names) != self.labels:
            raise BadInput(f"{self.labels} labels have {len(self.names)} names: name each label")
        if targets.dtype != torch.int64 or targets.shape[1:] != self.shape or not bool(((targets | 1) == 1).all()):
            raise BadInput(
                f"targets have shape {tuple(targets.shape)} of {targets.dtype}: give int64 (N, {self.labels}) of 0 and"
                " 1, whether each label is there"
            )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), reduction="none").mean(1)

    def predictions(self, outputs: Tensor) -> Tensor:
        return (outputs > THERE).long()

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 1.0 - self.verdict(outputs, targets).fails.float()

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        """The margin is that of the label nearest to a wrong answer, or furthest into one."""
        margins = (1 - 2 * targets) * (outputs - THERE)
        margin = margins.amax(1)
        losses = {"cross_entropy": F.softplus(margins).amax(1), "margin": margin}
        right = torch.full_like(margin[:, None], float("-inf"))  # the right answer, as a classifier has it
        return Verdict(losses, margin >= 0, torch.cat([right, margins], 1))

    def withstood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (2 * targets - 1) * (outputs - THERE)

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        """The labels that are there."""
        there = [row.nonzero().flatten().tolist() for row in answers]
        return [", ".join(self.names[place] if self.names else str(place) for place in row) or "none" for row in there]

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The logits, then the targets. A logit of 0 stands on the wrong side."""
        wrong = (1 - 2 * targets.double()) * torch.finfo(torch.float32).tiny
        return torch.cat([torch.where(outputs == THERE, wrong, outputs.double()), targets.double()], 1)

    def thin(self, tallies: Tensor) -> set[str]:
        """Few samples with a label, or without it, decide its average precision."""
        counts = (tallies[:, self.labels :] > 0).sum(0)
        few = (counts > 0) & (torch.minimum(counts, len(tallies) - counts) < RANKED)
        return {"mean_average_precision"} if bool(few.any()) else set()

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        """Exact match, F1 over all labels and its mean over labels, and mean average precision.

        The means leave out labels that no sample has.
        """
        logits, truth = tallies[:, : self.labels], tallies[:, self.labels :] > 0
        answers = logits > THERE
        hits, actual, predicted = ((truth & answers).sum(0), truth.sum(0), answers.sum(0))
        known = actual > 0
        f1 = 2 * hits / (actual + predicted).clamp_min(1)
        places = known.nonzero().flatten().tolist()
        precisions = [average_precision(logits[:, place], truth[:, place]) for place in places]
        return {
            "exact_match": (truth == answers).all(1).double().mean().item(),
            "micro_f1": float(2 * hits.sum() / (actual + predicted).sum().clamp_min(1)),
            "macro_f1": f1[known].double().mean().item() if precisions else 0.0,
            "mean_average_precision": sum(precisions) / len(precisions) if precisions else 0.0,
        }


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """The mean, over the samples that have a label, of the precision at their score, (N,) each;
    ties stand together.
    """
    found = torch.stack([truth[scores >= score].double().mean() for score in scores[truth]])
    return float(found.mean())
