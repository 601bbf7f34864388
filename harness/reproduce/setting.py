"""What a study trains and evaluates: systems on tasks, over seeds, with so much effort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class System:
    """A row of a table: a model and how it is trained.

    Attributes:
        name: of the row.
        missing: which training samples lack what, as `--train-missing` has it.
        attacked: whether its critical strengths are searched, or its scores suffice.
    """

    name: str
    model: str
    recipe: str = "supervised"
    missing: tuple[str, ...] = ()
    attacked: bool = True


@dataclass(frozen=True)
class Effort:
    """How much is spent on one setting.

    Attributes:
        epochs: at most so many per stage; the recipe's own number if None.
        samples: of the test split.
        learnt_from: so many training samples; all if None.
        limit: the largest strength searched.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int | None = None
    samples: int | Literal["all"] = "all"
    search: str = "standard"
    limit: float = 2.0
    learnt_from: int | None = None


SMALL = Effort(seeds=(0,), epochs=1, samples=24, search="fast", learnt_from=256)
"""Enough to see that everything runs: its numbers mean nothing."""


@dataclass(frozen=True)
class Setting:
    """Systems that are compared on one task."""

    task: str
    systems: tuple[System, ...]
    effort: Effort = Effort()
