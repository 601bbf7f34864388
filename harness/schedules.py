"""Modality dropout: which modalities are missing, at a given rate.

A rate is the fraction missing. A schedule is written ``name:rate,rate,...``; `fixed` takes the set that
goes missing, as in ``fixed(audio+text):0.5,1``.

>>> Schedule.parse("fixed(text):0,1", ("image", "text")).rates
(0.0, 1.0)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from attacks.errors import BadInput, unknown
from attacks.randomness import keyed_generator
from attacks.region import Inputs
from harness.registry import resolve
from harness.tasks import Batch, Task

GRAMMAR = "NAME:RATE,RATE,... or fixed(MODALITY+MODALITY):RATE,RATE,..., a rate being the fraction missing"
_PATTERN = re.compile(r"(?P<name>[\w-]+)(\((?P<which>[^()]*)\))?(:(?P<rates>.*))?")


@runtime_checkable
class Mask(Protocol):
    """A schedule's rule for one sample."""

    def __call__(self, draws: Tensor, rate: float, which: Tensor) -> Tensor:
        """Which modalities are present, bool (M,).

        Args:
            draws: M + 1 uniform numbers in [0, 1), the same at every rate: masks are nested.
            rate: the nominal rate.
            which: the modalities named in the schedule, bool (M,); all if it names none.
        """


def mcar(draws: Tensor, rate: float, which: Tensor) -> Tensor:
    """Missing completely at random: each modality independently; all may be missing at once."""
    return draws[:-1] >= rate


def mcar_keep_one(draws: Tensor, rate: float, which: Tensor) -> Tensor:
    """As mcar, but where all would be missing, one (uniformly drawn) is kept: the rate is not reached."""
    present = mcar(draws, rate, which)
    if not bool(present.any()):
        present[int(draws[-1] * len(present))] = True
    return present


def fixed(draws: Tensor, rate: float, which: Tensor) -> Tensor:
    """A given set missing together, in that fraction of the samples."""
    return ~which | (draws[-1] >= rate)


@dataclass(frozen=True)
class Schedule:
    """A rule, the modalities it names, and the rates it is run at."""

    name: str
    which: tuple[str, ...]
    rates: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.name}({'+'.join(self.which)})" if self.which else self.name

    @staticmethod
    def parse(text: str, modalities: Sequence[str]) -> Schedule:
        """Read a schedule for a task with these modalities.

        Raises:
            BadInput: it does not parse, or names a schedule, modality or rate there is not.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None or match["rates"] is None:
            raise BadInput(f"schedule {text!r} does not parse: write {GRAMMAR}")
        resolve("schedule", match["name"])
        which = tuple(part.strip() for part in (match["which"] or "").split("+") if part.strip())
        for name in which:
            if name not in modalities:
                raise unknown("modality", name, modalities, where=f" in schedule {text!r}")
        if (match["name"] == "fixed") != bool(which):
            raise BadInput(f"schedule {text!r}: 'fixed' names the set that goes missing, and no other does: fixed(audio):1")
        ordered = tuple(name for name in modalities if name in which)
        return Schedule(match["name"], ordered, tuple(_rate(text, rate) for rate in match["rates"].split(",")))

    def present(self, modalities: Sequence[str], samples: Sequence[str], rate: float, repeat: int, seed: int) -> Tensor:
        """The mask of each sample, bool (B, M); keyed, so the same whatever else is asked for."""
        rule: Mask = resolve("schedule", self.name).target
        which = torch.tensor([not self.which or name in self.which for name in modalities])
        rows = []
        for sample in samples:
            generator = keyed_generator("schedule", seed, sample, str(self), repeat)
            rows.append(rule(torch.rand(len(modalities) + 1, generator=generator), rate, which))
        return torch.stack(rows)

    @property
    def levels(self) -> tuple[float, ...]:
        """The rates, as the sweep calls them."""
        return self.rates

    def applied(self, task: Task, batch: Batch, rate: float, repeat: int, seed: int) -> tuple[Inputs, Tensor]:
        """The inputs as they are, and which are present, bool (B, M)."""
        return batch.inputs, self.present(task.names, batch.samples, rate, repeat, seed)


def _rate(text: str, rate: str) -> float:
    try:
        value = float(rate)
    except ValueError:
        raise BadInput(f"schedule {text!r}: {rate.strip()!r} is not a rate; a rate is a number from 0 to 1") from None
    if not 0 <= value <= 1:
        raise BadInput(f"schedule {text!r}: the rate {value:g} is not between 0 and 1; it is the fraction missing")
    return value


def bits(present: Tensor) -> list[str]:
    """Each row of a mask (B, M) as a string of 0 and 1, in the order of the modalities."""
    return ["".join("1" if bit else "0" for bit in row) for row in present.tolist()]
