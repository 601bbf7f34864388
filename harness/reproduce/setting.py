"""The settings of a study: the systems, the tasks, the seeds and the effort."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from harness.references.options import plain


@dataclass(frozen=True)
class System:
    """A row of a table: a model and how it is trained.

    Attributes:
        name: the name of the row.
        missing: the missing modalities of training samples, in the form of `--train-missing`.
        attacked: whether critical strengths are searched; else there are only scores.
        reads: the branches of the model that are evaluated alone, too, each as a system of its own
            (`reading`), with the same weights.
    """

    name: str
    model: str
    recipe: str = "supervised"
    missing: tuple[str, ...] = ()
    attacked: bool = True
    reads: tuple[str, ...] = field(default=(), repr=False)  # records of the model do not depend on it


def reading(system: str, branch: str) -> str:
    """The name under which one branch of a system is evaluated.

    >>> reading("CEN", "depth")
    'CEN, depth branch'
    """
    return f"{system}, {branch} branch"


@dataclass(frozen=True)
class Effort:
    """The effort that is spent on one setting.

    Attributes:
        epochs: the largest number per stage; that of the recipe if None.
        samples: the number of samples of the test split.
        learnt_from: the number of training samples; all if None.
        limit: the largest strength searched.
        attack: the attack at the radii as written, where a search would take days; empty: the
            search.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int | None = None
    samples: int | Literal["all"] = "all"
    search: str = "standard"
    limit: float = 2.0
    learnt_from: int | None = None
    attack: str = field(default="", repr=False)  # stands in keys where it is given

    @property
    def attacked_by(self) -> str:
        """For a reader."""
        return f"attack `{self.attack}`" if self.attack else f"search `{self.search}`"


SMALL = Effort(seeds=(0,), epochs=1, samples=24, search="fast", learnt_from=256)
SMALLER = Effort(seeds=(0,), epochs=1, samples=8, learnt_from=64)  # where a sample costs most, a search would take days
FEW_STEPS = 5  # of an attack


def small_effort(effort: Effort) -> Effort:
    """Enough to see that everything runs; the numbers mean nothing."""
    return replace(SMALLER, attack=f"{plain(effort.attack)}?steps={FEW_STEPS}") if effort.attack else SMALL


@dataclass(frozen=True)
class Setting:
    """Systems that are compared on one task.

    Attributes:
        metric: over the set, whose values its records hold; empty: scores suffice.
        full: whether it is run with `--full` only.
    """

    task: str
    systems: tuple[System, ...]
    effort: Effort = Effort()
    metric: str = ""
    full: bool = False
