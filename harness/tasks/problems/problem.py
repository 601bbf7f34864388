"""What is asked of a model: how its outputs are read, scored and failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getattr_static
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import Verdict, classification_verdict


@runtime_checkable
class Problem(Protocol):
    """How outputs are judged. B is the batch size; all results but `metrics` are per sample,
    (B,).
    """

    @property
    def width(self) -> int:
        """How many numbers a model answers per sample."""

    def check_targets(self, targets: Tensor) -> None:
        """Raise BadInput where the targets cannot be meant."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The training loss."""

    def predictions(self, outputs: Tensor) -> Tensor:
        """What the model answers, as a number."""

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """In [0, 1], higher is better."""

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        """What an adversary aims at."""

    def metrics(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """Over a set: the field's usual numbers."""


def lacking(problem: object) -> list[str]:
    """What a problem needs and this one has not."""
    return [
        name for name in Problem.__dict__ if not name.startswith("_") and getattr_static(problem, name, None) is None
    ]


def answered(problem: Problem) -> tuple[int, ...]:
    """The shape of a prediction of one sample, () for one number, tried on outputs of zeros; ()
    also where they cannot be judged.
    """
    try:
        return tuple(problem.predictions(torch.zeros(2, problem.width)).shape[1:])
    except Exception:  # the outputs of a model are tried before a run
        return ()


@dataclass(frozen=True)
class Classification:
    """One of K classes; outputs are logits (B, K), targets int64 (B,)."""

    classes: int

    @property
    def width(self) -> int:
        return self.classes

    def check_targets(self, targets: Tensor) -> None:
        if self.classes < 2:
            raise BadInput(f"a classification needs at least 2 classes, got {self.classes}: check the targets")
        if (
            targets.dtype != torch.int64
            or targets.ndim != 1
            or not bool(((targets >= 0) & (targets < self.classes)).all())
        ):
            raise BadInput(f"targets must be whole numbers (int64) from 0 to {self.classes - 1}, one per sample")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 1.0 - self.verdict(outputs, targets).fails.float()

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        return classification_verdict(outputs, targets)

    def metrics(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        right = predictions == targets
        truth = F.one_hot(targets, self.classes).bool()
        answer = F.one_hot(predictions, self.classes).bool()
        hits, asked, said = (truth & answer).sum(0), truth.sum(0), answer.sum(0)
        seen = asked > 0
        f1 = 2 * hits / (asked + said).clamp_min(1)
        return {
            "accuracy": right.double().mean().item(),
            "balanced_accuracy": (hits[seen] / asked[seen]).double().mean().item(),
            "macro_f1": f1[seen].double().mean().item(),
        }


def regression_metrics(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Root mean square error, mean absolute error and Pearson's r (0 where it is not defined), both
    (N,).
    """
    error = (predictions - targets).double()
    both = torch.stack([predictions.double(), targets.double()])
    varied = bool((both.std(1) > 0).all()) if len(targets) > 1 else False
    return {
        "rmse": error.square().mean().sqrt().item(),
        "mae": error.abs().mean().item(),
        "correlation": torch.corrcoef(both)[0, 1].item() if varied else 0.0,
    }


@dataclass(frozen=True)
class Regression:
    """One real value; outputs (B, 1), targets (B,).

    A sample fails when it is off by more than `tolerance`. Its score falls linearly from 1 at no
    error to 0 at twice the tolerance. `measure` gives the field's metrics of predictions and
    targets (N,).
    """

    tolerance: float
    measure: Callable[[Tensor, Tensor], dict[str, float]] = regression_metrics

    @property
    def width(self) -> int:
        return 1

    def check_targets(self, targets: Tensor) -> None:
        if not targets.is_floating_point() or targets.ndim != 1 or not bool(targets.isfinite().all()):
            raise BadInput("targets of a regression must be finite real numbers, one per sample")

    def _error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.squeeze(1) - targets).abs()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.smooth_l1_loss(outputs.squeeze(1), targets, reduction="none", beta=self.tolerance)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(1)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (1 - self._error(outputs, targets) / (2 * self.tolerance)).clamp(0, 1)

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        signed = outputs.squeeze(1) - targets
        losses = {"margin": signed.abs() - self.tolerance, "over": signed, "under": -signed}
        return Verdict(losses, losses["margin"] > 0)

    def metrics(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        return self.measure(predictions, targets)
