"""A batch with exact answers, and how its samples and radii are chosen; `benchmarks/exact.py`
measures the search by such cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attacks.objective import Classification, Objective
from attacks.region import Bounds, Inputs
from attacks.scenario import Ball, Scenario
from benchmarks.oracles.linear import Linear

TOP = 8.0  # strengths are compared up to here
LEAST = 0.05  # and from here: below, float32 logits decide
POOL = 8  # samples to choose from, for each that is chosen
Exact = Callable[[Scenario, Tensor], Tensor]
Choice = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Title:
    """Where a case stands in the table: its kind of model, its norms, and what tells it from others
    of the same line.
    """

    kind: str
    norms: str
    details: str


@dataclass(frozen=True, eq=False)
class Case:
    """A batch, and its exact answers.

    Attributes:
        scenario: searched with all its sub-scenarios.
        samples: names of the samples, on which their draws are keyed.
        exact: the critical strengths (B,) under a scenario, given the smallest strengths that have
            a witness (B,), from which an oracle may start; nan where they are not known.
        limit: the largest strength searched.
    """

    title: Title
    objective: Objective
    inputs: Inputs
    bounds: Bounds
    scenario: Scenario
    samples: Sequence[str]
    exact: Exact = field(repr=False)
    limit: float = TOP


def seeded(*key: object) -> torch.Generator:
    """Keyed, not drawn in turn: a case does not depend on which others are asked for."""
    return torch.Generator().manual_seed(int.from_bytes(repr(key).encode(), "big") % (2**61 - 1))


def log_uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low * (high / low) ** torch.rand((), generator=generator).item()


def radii_of(
    balls: dict[str, str], exact: Callable[[Scenario], Tensor], generator: torch.Generator
) -> tuple[Ball, ...]:
    """Balls in which the modalities weigh about the same, and the joint strengths have a drawn
    median between 0.5 and 4.
    """
    alone = {name: median(exact(Scenario((Ball(name, norm, 1.0),)))) for name, norm in balls.items()}
    drawn = tuple(Ball(name, norm, alone[name] * log_uniform(0.5, 2.0, generator)) for name, norm in balls.items())
    scale = median(exact(Scenario(drawn))) / log_uniform(0.5, 4.0, generator)
    return tuple(Ball(ball.modality, ball.norm_name, float(f"{ball.radius * scale:.3g}")) for ball in drawn)


def first_order(objective: Classification, inputs: Inputs, scenario: Scenario) -> Tensor:
    """Roughly the critical strengths (B,): the margin over its slope, ranges aside."""
    leaves = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    margin = -objective(leaves).losses["margin"]
    gradients = dict(zip(leaves, torch.autograd.grad(margin.sum(), list(leaves.values())), strict=True))
    slopes = [ball.radius * ball.norm.dual(gradients[ball.modality]) for ball in scenario.attacked]
    return (margin.detach() / torch.stack(slopes).sum(0)).double()


def median(strength: Tensor) -> float:
    """The median of the strengths that can be reached; 1 where none can."""
    reached = strength[strength.isfinite()]
    return reached.median().item() if len(reached) else 1.0


def compared(strength: Tensor) -> Tensor:
    """Which strengths count, bool; not nan."""
    return (strength >= LEAST) & (strength <= TOP)


def even(strength: Tensor, count: int) -> Tensor:
    """Up to `count` rows whose strengths are spread evenly, on a log scale, over those that
    count.
    """
    rows = compared(strength).nonzero().squeeze(1)
    rows = rows[strength[rows].argsort()]
    wanted = torch.logspace(math.log10(LEAST), math.log10(TOP), count, dtype=torch.float64)
    nearest = torch.searchsorted(strength[rows], wanted).clamp(max=len(rows) - 1).unique()
    rest = torch.ones(len(rows), dtype=torch.bool).index_fill(0, nearest, False).nonzero().squeeze(1)
    missing = count - len(nearest)
    filled = rest[:: max(1, len(rest) // max(1, missing))][:missing]
    return rows[torch.cat([nearest, filled])].sort().values


def first(strength: Tensor, count: int) -> Tensor:
    """The first `count` rows whose strengths count."""
    return compared(strength).nonzero().squeeze(1)[:count]


def of_linear(
    title: Title,
    pool: Linear,
    balls: dict[str, str],
    count: int,
    *,
    edits: tuple[Ball, ...] = (),
    choose: Callable[[Tensor, int], Tensor] = even,
) -> Case:
    """A case of a linear model.

    Args:
        pool: its inputs are the samples to choose from.
        balls: the norm of every modality that is attacked in one.
        edits: the edits beside them, with their sizes.
        choose: chooses samples by their joint strengths.
    """
    scenario = Scenario((*radii_of(balls, pool.exact, seeded(title)), *edits))
    names = [str(row) for row in range(len(pool.labels))]
    rows = choose(pool.exact(scenario, names), count)
    model, samples = pool.take(rows), [names[row] for row in rows.tolist()]
    return Case(
        title,
        model.objective(),
        model.inputs,
        model.bounds,
        scenario,
        samples,
        lambda asked, known: model.exact(asked, samples),
    )
