"""Problems: how the outputs of a model are read and scored, and when a sample has failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getattr_static
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput, shown
from attacks.objective import Verdict, classification_verdict


@runtime_checkable
class Problem(Protocol):
    """How outputs are judged.

    B is the batch size. Outputs are (B, *shape), targets (B, ...) of any kind. Targets that name
    places in an input without lying on its grid, such as boxes, also have `placed`, the number of
    its axes that they name: a shift of the input would not move them, so it is refused.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a model's answer to one sample: ``(K,)`` for K logits, ``(K, H, W)`` for a
        map of them.
        """

    def check_targets(self, targets: Tensor) -> None:
        """Raise BadInput if the targets are not valid."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The training loss of each sample, (B,)."""

    def predictions(self, outputs: Tensor) -> Tensor:
        """The answers in the form of targets, (B, ...): a class, a value, a map of classes."""

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How good each answer is, (B,), in [0, 1], higher is better."""

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        """The losses that an adversary raises and the failures, per sample."""

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        """The texts in tables and pages for targets, or for predictions (B, ...) beside their
        targets.
        """

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sufficient statistics of each sample for `metrics`, (B, T).

        T is at most `MOST_TALLIED`. More than 256 numbers are kept as float32, else as float64.
        """

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        """The usual metrics over a set, from its tallies (N, T), float64."""


@runtime_checkable
class Graded(Protocol):
    """A problem whose answers decay instead of flipping: a map, an image, a sound.

    A sample has failed when its score falls below a floor, a threshold's share of its untouched
    score. The verdict carries the `scores`.
    """

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Shares of the untouched score, in [0, 1); the first is the one that tables show."""

    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        """Whether each score is below its floor (B,), float64; without a floor, below the first
        threshold.
        """


@runtime_checkable
class Certifiable(Protocol):
    """A problem whose samples withstand where some affine functions of the outputs are above
    zero.
    """

    def withstood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """These functions, (B, S): where all are above zero, the verdict does not fail."""


def leads(logits: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """How far the class `right`, int64 (B,), is ahead of each class of `wrong`, bool (B, K); 1 for
    all other classes, and for those that the model rules out by -inf.
    """
    counted = wrong & (logits > float("-inf"))
    return torch.where(counted, logits.gather(1, right[:, None]) - logits, 1.0)


def thresholds_of(problem: Problem) -> tuple[float, ...]:
    """The thresholds of a graded problem; empty if answers are right or wrong."""
    return tuple(getattr(problem, "thresholds", ()))


def answered(problem: Problem, outputs: Tensor, targets: Tensor) -> Tensor:
    """The predictions that count: at a tie with the right answer, or over several draws, they are
    those that the score is of.
    """
    own: Callable[[Tensor, Tensor], Tensor] | None = getattr(problem, "answered", None)
    return problem.predictions(outputs) if own is None else own(outputs, targets)


def lacking(problem: object) -> list[str]:
    """The members that a problem needs and this one lacks."""
    return [
        name for name in Problem.__dict__ if not name.startswith("_") and getattr_static(problem, name, None) is None
    ]


def check_problem(task: str, problem: object) -> None:
    """Refuse an object that is not a problem.

    Raises:
        BadInput: naming the task, and what is missing or wrong.
    """
    if missing := lacking(problem):
        older = " (`shape` is the (width,) of earlier versions)" if hasattr(problem, "width") else ""
        raise BadInput(f"the problem of task {task!r} is not a harness.tasks.Problem: add {', '.join(missing)}{older}")
    if isinstance(problem, type):
        raise BadInput(f"the problem of task {task!r} is the class {problem.__name__}: give an object, as with ()")
    shape = problem.shape  # type: ignore[attr-defined]
    if not isinstance(shape, tuple | list) or not all(isinstance(each, int) for each in shape):
        raise BadInput(f"the problem of task {task!r} has shape {shown(shape)}: give whole numbers, as (3,)")
    _check_thresholds(task, getattr(problem, "thresholds", None))
    names = getattr(problem, "names", ())
    if isinstance(names, tuple | list) and (twice := [name for name in names if names.count(name) > 1]):
        raise BadInput(
            f"the problem of task {task!r} names {twice[0]!r} twice, and metrics go by these names: name each once"
        )


def _check_thresholds(task: str, thresholds: object) -> None:
    if thresholds is None:
        return
    shares = thresholds if isinstance(thresholds, tuple | list) else ()
    real = [share for share in shares if isinstance(share, int | float) and 0 <= share < 1]
    if not shares or len(set(real)) < len(shares):
        raise BadInput(
            f"the problem of task {task!r} has thresholds {shown(thresholds)}: give different shares of the untouched"
            " score, from 0 to below 1, such as (0.9, 0.5)"
        )


EITHER = 2  # right samples of each class, and wrong ones, with which a mean over classes has an interval
MOST_TALLIED = 65_536  # numbers of a tally that the tables hold


class OneNumber:
    """The common part of problems whose targets and predictions are one number each. The tally of a
    sample is the pair (prediction, target); every metric of a set follows from these pairs.
    """

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        return [str(each) if isinstance(each, int) else f"{each:.4g}" for each in answers.tolist()]

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([self.answered(outputs, targets).double(), targets.double()], 1)

    def answered(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The prediction of each sample that counts, (B,)."""
        return self.predictions(outputs)

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        return self.measured(*tallies.unbind(1))

    def predictions(self, outputs: Tensor) -> Tensor:
        """The prediction of each sample, (B,)."""
        raise NotImplementedError

    def measured(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        """The metrics of predictions and targets (N,), float64."""
        raise NotImplementedError


def ahead(logits: Tensor, targets: Tensor) -> Tensor:
    """The class of the largest logit (B, K, ...), int64 (B, ...). A tie with the right class is a
    wrong answer, as in scores and verdicts.
    """
    own = targets.unsqueeze(1)
    wrong = logits.scatter(1, own, float("-inf")).max(1, keepdim=True)
    return torch.where(logits.gather(1, own) > wrong.values, own, wrong.indices).squeeze(1)


@dataclass(frozen=True)
class Classification(OneNumber):
    """One of K classes; outputs are logits (B, K), targets int64 (B,)."""

    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.classes,)

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

    def answered(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ahead(outputs, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 1.0 - self.verdict(outputs, targets).fails.float()

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        return classification_verdict(outputs, targets)

    def withstood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return leads(outputs, targets, F.one_hot(targets, self.classes) == 0)

    def thin(self, tallies: Tensor) -> set[str]:
        """Recall is averaged over classes: a class of which no sample, or only one, is right or
        wrong hides how far it varies.
        """
        predictions, targets = tallies.unbind(1)
        for own in targets.unique():
            right = (predictions == targets)[targets == own]
            if min(int(right.sum()), int((~right).sum())) < EITHER:
                return {"balanced_accuracy"}
        return set()

    def measured(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        right = predictions == targets
        truth = F.one_hot(targets.long(), self.classes).bool()
        answer = F.one_hot(predictions.long(), self.classes).bool()
        hits, actual, predicted = (truth & answer).sum(0), truth.sum(0), answer.sum(0)
        seen = actual > 0
        f1 = 2 * hits / (actual + predicted).clamp_min(1)
        return {
            "accuracy": right.double().mean().item(),
            "balanced_accuracy": (hits[seen] / actual[seen]).double().mean().item(),
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
class Regression(OneNumber):
    """One real value; outputs (B, 1), targets (B,).

    A sample fails when it is off by more than `tolerance`. Its score falls linearly from 1 at no
    error to 0 at twice the tolerance. `measure` gives the field's metrics of predictions and
    targets (N,).
    """

    tolerance: float
    measure: Callable[[Tensor, Tensor], dict[str, float]] = regression_metrics

    @property
    def shape(self) -> tuple[int, ...]:
        return (1,)

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

    def withstood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        signed = outputs.squeeze(1) - targets
        return torch.stack([self.tolerance - signed, self.tolerance + signed], 1)

    def measured(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        return self.measure(predictions, targets)
