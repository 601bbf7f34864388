"""Several real values of one sample, right only where each is within its tolerance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput, shown
from attacks.objective import Verdict
from harness.tasks.problems.problem import MOST_TALLIED, regression_metrics


def _listed(given: object) -> tuple[object, ...]:
    return tuple(given) if isinstance(given, tuple | list) else ()


@dataclass(frozen=True)
class Values:
    """K real values; outputs (B, K), targets (B, K) float32.

    A sample fails where any value is off by more than its tolerance. The score of a value falls
    linearly from 1 at no error to 0 at twice its tolerance; that of a sample is the lowest of them.

    Attributes:
        tolerances: of each value, in its own unit.
        names: of the values; their numbers where absent.
    """

    tolerances: tuple[float, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        real = [each for each in _listed(self.tolerances) if isinstance(each, int | float) and 0 < each < float("inf")]
        if not 1 <= len(real) <= MOST_TALLIED // 2 or len(real) < len(self.tolerances):
            raise BadInput(
                f"values have tolerances {shown(self.tolerances)}: give a tuple of 1 to {MOST_TALLIED // 2} real"
                " tolerances above 0, one for each value"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.tolerances),)

    def check_targets(self, targets: Tensor) -> None:
        if self.names and len(self.names) != len(self.tolerances):
            raise BadInput(f"{len(self.tolerances)} values have {len(self.names)} names: name each value")
        if not targets.is_floating_point() or targets.shape[1:] != self.shape or not bool(targets.isfinite().all()):
            raise BadInput(
                f"targets have shape {tuple(targets.shape)} of {targets.dtype}: give finite real numbers"
                f" (N, {len(self.tolerances)}), one for each tolerance"
            )

    def _errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Signed, in units of the tolerances, (B, K)."""
        return (outputs - targets) / torch.tensor(self.tolerances, device=outputs.device, dtype=outputs.dtype)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        errors = self._errors(outputs, targets)
        return F.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none").mean(1)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (1 - self._errors(outputs, targets).abs().amax(1) / 2).clamp(0, 1)

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        """Too large and too small are ways to fail, as classes of a classifier are."""
        errors = self._errors(outputs, targets)
        ways = torch.cat([errors - 1, -errors - 1], 1)
        margin = ways.amax(1)
        right = torch.full_like(margin[:, None], float("-inf"))  # the right answer, as a classifier has it
        return Verdict({"margin": margin}, margin > 0, torch.cat([right, ways], 1))

    def withstood(self, outputs: Tensor, targets: Tensor) -> Tensor:
        errors = self._errors(outputs, targets)
        return torch.cat([1 - errors, 1 + errors], 1)

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        return [", ".join(f"{value:.4g}" for value in row) for row in answers.tolist()]

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The outputs, then the targets."""
        return torch.cat([outputs.double(), targets.double()], 1)

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        """The share of samples within all tolerances; root mean square error, mean absolute error
        and correlation of each value, and their means over values.
        """
        count = len(self.tolerances)
        answers, truth = tallies[:, :count], tallies[:, count:]
        each = [regression_metrics(answers[:, place], truth[:, place]) for place in range(count)]
        within = (self._errors(answers, truth).abs() <= 1).all(1).double().mean().item()
        means = {name: sum(values[name] for values in each) / count for name in each[0]}
        named = {
            f"{name} {self.names[place] if self.names else place}": value
            for place, values in enumerate(each)
            for name, value in values.items()
        }
        return {"within_tolerance": within, **means, **named}
