"""The settings of a study: the systems, the tasks, the seeds and the effort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class System:
    """A row of a table: a model and how it is trained.

    Attributes:
        name: the name of the row.
        missing: the missing modalities of training samples, in the form of `--train-missing`.
        attacked: whether critical strengths are searched; else there are only scores.
    """

    name: str
    model: str
    recipe: str = "supervised"
    missing: tuple[str, ...] = ()
    attacked: bool = True


@dataclass(frozen=True)
class Effort:
    """The effort that is spent on one setting.

    Attributes:
        epochs: the largest number per stage; that of the recipe if None.
        samples: the number of samples of the test split.
        learnt_from: the number of training samples; all if None.
        limit: the largest strength searched.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int | None = None
    samples: int | Literal["all"] = "all"
    search: str = "standard"
    limit: float = 2.0
    learnt_from: int | None = None


SMALL = Effort(seeds=(0,), epochs=1, samples=24, search="fast", learnt_from=256)
"""Enough to see that everything runs; the numbers mean nothing."""


@dataclass(frozen=True)
class Setting:
    """Systems that are compared on one task."""

    task: str
    systems: tuple[System, ...]
    effort: Effort = Effort()
