"""Counts as classes: how a count is judged, also for a model that answers a real number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import TINY, Verdict
from harness.tasks.problems.problem import Classification, OneNumber, ahead, leads


@dataclass(frozen=True)
class Counting(OneNumber):
    """A count from 0 to `largest`; outputs are logits (B, largest + 1), targets int64 (B,).

    The score is exact accuracy, whatever the tolerance. A sample fails where the count is off by
    more than `tolerance`: the margin is the largest logit of such counts minus the largest of the
    others. A model that answers a real number gives `count_logits` of it.

    Attributes:
        largest: the largest count.
        tolerance: the largest error of a count that is not yet a failure.
    """

    largest: int
    tolerance: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.largest + 1,)

    def truth(self, targets: Tensor) -> Tensor:
        """The counts (B,) that targets (B,) stand for: themselves."""
        return targets

    def check_targets(self, targets: Tensor) -> None:
        if self.largest < 1 or not 0 <= self.tolerance < self.largest:
            raise BadInput(
                f"counts need a largest above 0 and a tolerance below it, got {self.largest} and {self.tolerance}"
            )
        if (
            targets.dtype != torch.int64
            or targets.ndim != 1
            or not bool(((targets >= 0) & (targets <= self.largest)).all())
        ):
            raise BadInput(f"targets must be counts (int64) from 0 to {self.largest}, one per sample")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)

    def answered(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ahead(outputs, self.truth(targets))

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return Classification(self.largest + 1).score(outputs, targets)

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        """A tie counts as a failure.

        DLR divides the margin by the distance of the first from the third logit.
        """
        counts = torch.arange(self.largest + 1, device=outputs.device)
        tolerated = (counts - targets[:, None]).abs() <= self.tolerance
        best = outputs.masked_fill(~tolerated, float("-inf")).amax(1)
        margins = (outputs - best[:, None]).masked_fill(tolerated, float("-inf"))
        margin = margins.amax(1)
        mass = outputs.logsumexp(1) - outputs.masked_fill(~tolerated, float("-inf")).logsumexp(1)  # -log P(tolerated)
        losses = {"cross_entropy": mass, "margin": margin}
        if self.largest > 2:
            first, _, third = outputs.topk(3, dim=1).values.unbind(1)
            losses["dlr"] = margin / (first - third).clamp_min(TINY)
        return Verdict(losses, margin >= 0, margins)

    def withstood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The count within the tolerance that leads on these outputs must stay ahead of all counts
        outside of it; that is enough, and not needed where another one takes its place.
        """
        counts = torch.arange(self.largest + 1, device=outputs.device)
        tolerated = (counts - targets[:, None]).abs() <= self.tolerance
        best = outputs.detach().masked_fill(~tolerated, float("-inf")).argmax(1)
        return leads(outputs, best, ~tolerated)

    def measured(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        return count_metrics(predictions, targets)


def count_metrics(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Exact accuracy, root mean square error, and the share off by at most one and two, of counts
    (N,).
    """
    error = (predictions - targets).abs().double()
    return {
        "accuracy": (error == 0).double().mean().item(),
        "rmse": error.square().mean().sqrt().item(),
        "within_one": (error <= 1).double().mean().item(),
        "within_two": (error <= 2).double().mean().item(),
    }


def count_logits(number: Tensor, largest: int) -> Tensor:
    """Logits (B, largest + 1) of a real-valued count (B,): -(number - k)² for every count k.

    The most likely count is the number rounded and clipped to [0, largest], and differences between
    logits are linear in the number: its gradient is as good as that of the number itself.
    """
    return -(number[:, None] - torch.arange(largest + 1, device=number.device)).square()


def count_of(logits: Tensor) -> Tensor:
    """The number (B,) that `count_logits` was given, from its logits (B, largest + 1)."""
    return (logits[:, 1] - logits[:, 0] + 1) / 2
