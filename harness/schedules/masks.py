"""The rules of which modalities of a sample are missing.

Every rule compares draws that do not depend on the rate with chances that grow with it. So a
modality that is missing at one rate is missing at every higher rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from harness.schedules.ranks import energy_rank, target_rank
from harness.tasks import Task


@dataclass(frozen=True, eq=False)
class Sample:
    """The data of one sample that a rule gets.

    Attributes:
        name: the sample's id, of any split of the task.
        draws: M + 1 uniform numbers in [0, 1), the same at every rate.
        which: the modalities that the schedule names, bool (M,); all if it names none.
        shares: the number written behind each modality, (M,); 1 where no number is written.
    """

    task: Task
    name: str
    draws: Tensor
    which: Tensor
    shares: Tensor


@runtime_checkable
class Mask(Protocol):
    """A schedule's rule for one sample."""

    def __call__(self, sample: Sample, rate: float) -> Tensor:
        """Which modalities are present at the nominal rate, bool (M,)."""


def mcar(sample: Sample, rate: float) -> Tensor:
    """Missing completely at random: each modality independently; all may be missing at once."""
    return sample.draws[:-1] >= rate


def mcar_keep_one(sample: Sample, rate: float) -> Tensor:
    """Like mcar, but one random modality is kept where all would be missing, so the rate is not
    reached.
    """
    return mcar(sample, rate) | _last(sample)


def fixed(sample: Sample, rate: float) -> Tensor:
    """A given set missing together, in that fraction of the samples."""
    return ~sample.which | (sample.draws[-1] >= rate)


def imbalanced(sample: Sample, rate: float) -> Tensor:
    """Each named modality independently at a rate of its own, as written behind it, times the rate
    of the schedule.
    """
    return ~sample.which | (sample.draws[:-1] >= rate * sample.shares)


def exclusive(sample: Sample, rate: float) -> Tensor:
    """One random modality is present, and all others are missing, in that fraction of the
    samples.
    """
    return _last(sample) | (sample.draws[-1] >= rate)


def mnar(sample: Sample, rate: float) -> Tensor:
    """Missing not at random: the more energy a sample has in a named modality, the likelier it is
    missing there.
    """
    ranks = torch.stack([energy_rank(sample.task, name, sample.name) for name in sample.task.names])
    return ~sample.which | (sample.draws[:-1] >= growing(ranks, rate))


def mnar_label(sample: Sample, rate: float) -> Tensor:
    """Missing not at random: the higher the label (class number or value), the likelier a named
    modality is missing.
    """
    return ~sample.which | (sample.draws[:-1] >= growing(target_rank(sample.task, sample.name), rate))


def _last(sample: Sample) -> Tensor:
    """The modality that goes missing last, bool (M,): uniformly drawn, and the same at every
    rate.
    """
    return torch.arange(len(sample.which)) == sample.draws[:-1].argmax()


def growing(rank: Tensor, rate: float) -> Tensor:
    """A chance that grows linearly with the rank in [0, 1] and averages to the rate over evenly
    spread ranks.

    Up to one half it is 2·rate·rank. Above one half, the same rule holds for the present
    modalities: 1 - 2·(1 - rate)·(1 - rank). It grows with the rate, too.
    """
    return 2 * rate * rank if rate <= 0.5 else 1 - 2 * (1 - rate) * (1 - rank)
