"""Counts that ten people gave: the score of an answer grows with the number of people who gave it
(Antol et al., VQA, ICCV 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import Verdict
from harness.tasks.problems.counts import Counting, count_metrics
from harness.tasks.problems.problem import OneNumber

PER_VOICE = 0.3  # min(0.3 n, 1) for n of ten: what the mean of min(n / 3, 1) over all nine of the ten comes to


def voted(answers: Sequence[int], largest: int) -> tuple[int, ...]:
    """How many people gave each count from 0 to `largest`; other answers are dropped."""
    return tuple(sum(each == count for each in answers) for count in range(largest + 1))


@dataclass(frozen=True)
class SoftCounting(OneNumber):
    """Counts judged by several people; outputs are logits (B, K), targets int64 (B,) number the
    rows of `votes`.

    The truth is the count that most gave, the smaller where two have as many. Training's loss is
    the cross-entropy of the soft accuracies, normalised; the score is the soft accuracy of the
    prediction, min(0.3 n, 1) where n gave it; a sample fails where its count is off from the truth
    by more than `tolerance`, as in `Counting`.

    Attributes:
        votes: the distinct patterns of votes, each how many gave every count from 0 to K - 1.
        tolerance: the largest error of a count that is not yet a failure.
    """

    votes: tuple[tuple[int, ...], ...]
    tolerance: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.votes[0]),)

    @cached_property
    def accuracies(self) -> Tensor:
        """Soft accuracy of each count, (patterns, K)."""
        return (PER_VOICE * torch.tensor(self.votes, dtype=torch.float32)).clamp_max(1)

    @cached_property
    def truths(self) -> Tensor:
        """The count of each pattern, (patterns,)."""
        return torch.tensor([each.index(max(each)) for each in self.votes])

    @cached_property
    def _counting(self) -> Counting:
        return Counting(self.shape[0] - 1, self.tolerance)

    def truth(self, targets: Tensor) -> Tensor:
        """The counts (B,) that targets (B,) stand for."""
        return self.truths.to(targets.device)[targets]

    def check_targets(self, targets: Tensor) -> None:
        if not self.votes or any(len(each) != len(self.votes[0]) or not sum(each) for each in self.votes):
            raise BadInput(
                "votes must hold at least one pattern; all patterns must have one length and at least one vote"
            )
        if (
            targets.dtype != torch.int64
            or targets.ndim != 1
            or not bool(((targets >= 0) & (targets < len(self.votes))).all())
        ):
            raise BadInput(
                f"targets must number patterns of votes: int64 from 0 to {len(self.votes) - 1}, one per sample"
            )
        self._counting.check_targets(self.truth(targets))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        share = F.normalize(self.accuracies.to(outputs.device)[targets], p=1, dim=1)
        return F.cross_entropy(outputs, share, reduction="none")

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._agreed(outputs.argmax(1), targets)

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        return self._counting.verdict(outputs, self.truth(targets))

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        return super().label(self.truth(answers) if targets is None else answers)

    def measured(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        predictions, targets = predictions.long(), targets.long()
        soft = self._agreed(predictions, targets).double().mean().item()
        return {"soft_accuracy": soft, **count_metrics(predictions, self.truth(targets))}

    def _agreed(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return self.accuracies.to(targets.device)[targets, predictions]
