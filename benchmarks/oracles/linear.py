"""A linear model of several inputs: its critical strength is known exactly, beside edits too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.objective import Classification
from attacks.region import UNBOUNDED, Inputs, Range
from attacks.scenario import Ball, Scenario
from benchmarks.oracles.edits import Choices, choices, together
from benchmarks.oracles.rise import NEVER, Rise, strength

WIDTHS = {"a": 24, "b": 12, "c": 5}
AT_ONCE = 2_000_000  # numbers of one table


@dataclass
class Linear:
    """logits = Σ_m W_m x_m, and inputs it is right about.

    Attributes:
        weights: per modality (K, values of a sample).
        inputs: per modality (B, ...), of any shape.
    """

    weights: dict[str, Tensor]
    inputs: Inputs
    bounds: dict[str, Range]

    @property
    def labels(self) -> Tensor:
        return self.logits(self.inputs).argmax(1)

    def logits(self, inputs: Inputs) -> Tensor:
        return torch.stack([inputs[name].flatten(1) @ weight.T for name, weight in self.weights.items()]).sum(0)

    def objective(self) -> Classification:
        return Classification(self.logits, self.labels)

    def take(self, rows: Tensor) -> Linear:
        """The same model, and the chosen inputs."""
        bounds = {name: _rows_of(valid, rows, self.inputs[name]) for name, valid in self.bounds.items()}
        return Linear(self.weights, {name: x[rows] for name, x in self.inputs.items()}, bounds)

    def exact(self, scenario: Scenario, samples: Sequence[str] | None = None) -> Tensor:
        """The critical strength of every sample, float64 (B,): the smallest over the wrong classes
        and the edits.

        Beside `stuck`, it is exact for two classes, which share the direction of their continuous
        changes in every random draw.

        Args:
            samples: their names, where edits are drawn by them; row numbers if absent.
        """
        names = [str(row) for row in range(len(self.labels))] if samples is None else samples
        longest = max(x[0].numel() for x in self.inputs.values()) * next(iter(self.weights.values())).shape[0]
        blocks = torch.arange(len(names)).split(max(1, AT_ONCE // longest))
        return torch.cat([self.take(rows)._exact(scenario, [names[row] for row in rows.tolist()]) for rows in blocks])

    def _exact(self, scenario: Scenario, samples: Sequence[str]) -> Tensor:
        logits = {name: x.flatten(1).double() @ self.weights[name].double().T for name, x in self.inputs.items()}
        whole = torch.stack(list(logits.values())).sum(0)
        wrong = others(self.labels, whole.shape[1])
        margin = whole.gather(1, self.labels[:, None]) - whole.gather(1, wrong)  # (B, K - 1)
        edits = [
            choices(ball, *self._space(ball.modality), self._directions(ball.modality, wrong), samples)
            for ball in scenario.edits
        ]
        edited = together(margin, edits, scenario.edits)
        rises = [(self._rise(ball, wrong), ball.radius) for ball in scenario.continuous.attacked]
        return cheapest(rises, edited)

    def _directions(self, name: str, wrong: Tensor) -> Tensor:
        return towards(self.weights[name], self.labels, wrong)

    def _space(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        return space(self.inputs[name], self.bounds.get(name, UNBOUNDED))

    def _rise(self, ball: Ball, wrong: Tensor) -> Rise:
        return rise_of(ball, self._directions(ball.modality, wrong), *self._space(ball.modality))


def towards(weight: Tensor, labels: Tensor, wrong: Tensor) -> Tensor:
    """What every value adds to each wrong class (B, K - 1) against the right one, float64 (B, K -
    1, values).
    """
    return weight.double()[wrong] - weight.double()[labels][:, None]


def space(x: Tensor, valid: Range) -> tuple[Tensor, Tensor, Tensor]:
    """The values and both ends of their range, float64 (B, ...)."""
    ends = valid.over(x)
    return x.double(), torch.as_tensor(ends.low).double(), torch.as_tensor(ends.high).double()


def rise_of(ball: Ball, directions: Tensor, x: Tensor, low: Tensor, high: Tensor) -> Rise:
    """The rise along directions (B, J, values), from `x` (B, ...) in its range; B · J functions."""
    x, low, high = (each.flatten(1)[:, None].expand_as(directions).flatten(0, 1) for each in (x, low, high))
    return Rise.of(ball.norm_name, directions.flatten(0, 1), low - x, high - x)


def cheapest(rises: Sequence[tuple[Rise, float]], edited: Choices) -> Tensor:
    """The least strength of every sample, over the wrong classes and the choices of edits that
    leave `edited.needed` (B, K - 1, C).

    Args:
        rises: of the continuous changes towards each wrong class, (B (K - 1), ...), with their
            radii.
    """
    rows = edited.needed.flatten(0, 1)
    beside = strength(rises, rows) if rises else torch.where(rows > 0, NEVER, 0.0)
    return torch.maximum(beside.view_as(edited.needed), edited.strengths).flatten(1).amin(1)


def others(labels: Tensor, classes: int) -> Tensor:
    """The classes that are wrong, (B, K - 1)."""
    every = torch.arange(classes).expand(len(labels), -1)
    return every[every != labels[:, None]].view(len(labels), -1)


def _rows_of(valid: Range, rows: Tensor, x: Tensor) -> Range:
    low, high = (torch.as_tensor(end, dtype=x.dtype).expand_as(x)[rows] for end in (valid.low, valid.high))
    return Range(low, high)


def random_linear(classes: int, samples: int = 16, bounded: bool = False, seed: int = 0) -> Linear:
    """Three modalities, `a` of 24 numbers, `b` of 12 and `c` of 5; bounded, `b` has a range per
    feature and `c` none.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(classes, width, generator=generator) for name, width in WIDTHS.items()}
    inputs = {name: torch.rand(samples, weight.shape[1], generator=generator) for name, weight in weights.items()}
    bounds: dict[str, Range] = {}
    if bounded:
        bounds = {
            "a": Range(0.0, 1.0),
            "b": Range(-torch.rand(12, generator=generator), 1 + torch.rand(12, generator=generator)),
        }
    return Linear(weights, inputs, bounds)
