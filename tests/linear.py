"""A linear model of several inputs: its critical strength is known exactly (law 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.objective import Classification
from attacks.region import Bounds, Inputs, Range
from attacks.scenario import Ball, Scenario

BISECTIONS = 60


@dataclass
class Linear:
    """logits = Σ_m W_m x_m, and inputs it is right about."""

    weights: dict[str, Tensor]
    inputs: Inputs
    bounds: Bounds

    @property
    def labels(self) -> Tensor:
        return self.logits(self.inputs).argmax(1)

    def logits(self, inputs: Inputs) -> Tensor:
        return torch.stack([inputs[name] @ weight.T for name, weight in self.weights.items()]).sum(0)

    def objective(self) -> Classification:
        return Classification(self.logits, self.labels)

    def exact(self, scenario: Scenario) -> Tensor:
        """Per sample, the root t of Σ_m h_m,j(t r_m) = margin_j, smallest over the wrong classes j."""
        logits = self.logits(self.inputs).double()
        best = torch.full((len(logits),), float("inf"), dtype=torch.float64)
        for row, right in enumerate(self.labels.tolist()):
            for wrong in set(range(logits.shape[1])) - {right}:
                margin = float(logits[row, right] - logits[row, wrong])
                best[row] = min(float(best[row]), self._root(scenario, row, right, wrong, margin))
        return best

    def _root(self, scenario: Scenario, row: int, right: int, wrong: int, margin: float) -> float:
        low, high = 0.0, 1.0
        while self._gain(scenario, row, right, wrong, high) < margin:
            low, high = high, high * 2
            if high > 1e6:
                return float("inf")
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if self._gain(scenario, row, right, wrong, middle) >= margin else (middle, high)
        return high

    def _gain(self, scenario: Scenario, row: int, right: int, wrong: int, t: float) -> float:
        total = 0.0
        for ball in scenario.attacked:
            direction = (self.weights[ball.modality][wrong] - self.weights[ball.modality][right]).double()
            x = self.inputs[ball.modality][row].double()
            valid = self.bounds.get(ball.modality, Range(float("-inf"), float("inf")))
            low, high = (torch.as_tensor(end).double().expand_as(x) - x for end in (valid.low, valid.high))
            total += support(ball, direction, low, high, t * ball.radius)
        return total


def support(ball: Ball, direction: Tensor, low: Tensor, high: Tensor, radius: float) -> float:
    """max ⟨direction, δ⟩ over ‖δ‖ ≤ radius and low ≤ δ ≤ high."""
    if ball.norm_name == "linf":
        best = torch.where(direction > 0, high.clamp(max=radius), low.clamp(min=-radius))
        return float((direction * best).sum())
    if ball.norm_name == "l1":  # a fractional knapsack: the steepest values first, each to its bound
        order = direction.abs().argsort(descending=True)
        room = torch.where(direction > 0, high, -low)[order].clamp(max=1e9)
        spent = torch.minimum(room, (radius - (room.cumsum(0) - room)).clamp_min(0))
        return float((direction.abs()[order] * spent).sum())
    least, most = 0.0, 1e12  # δ = clamp(s · direction): the scale s at which the ball or the range binds
    for _ in range(200):
        middle = (least + most) / 2 if least else min(most / 2, 1e12)
        size = float((middle * direction).clamp(low, high).norm())
        least, most = (middle, most) if size <= radius else (least, middle)
        if most - least < 1e-12 * most:
            break
    return float((direction * (least * direction).clamp(low, high)).sum())


def random_linear(classes: int, samples: int = 16, bounded: bool = False, seed: int = 0) -> Linear:
    """Three modalities, `a` of 24 numbers, `b` of 12 and `c` of 5; bounded, `b` has a range per feature and `c` none."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(classes, width, generator=generator) for name, width in {"a": 24, "b": 12, "c": 5}.items()}
    inputs = {name: torch.rand(samples, weight.shape[1], generator=generator) for name, weight in weights.items()}
    bounds: dict[str, Range] = {}
    if bounded:
        bounds = {"a": Range(0.0, 1.0), "b": Range(-torch.rand(12, generator=generator), 1 + torch.rand(12, generator=generator))}
    return Linear(weights, inputs, bounds)
