"""The rank of each sample in its split, on which "missing not at random" depends.

Ranks come from the whole split, never from a batch, so a mask does not depend on other samples of
the run. A split that is read as it is needed is read once, in parts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from harness.tasks import Batch, Task

KEPT = 16  # tables of ranks, the latest


def energy_rank(task: Task, modality: str, sample: str) -> Tensor:
    """The rank of a sample's energy in a modality, the squared distance from the absent value,
    among those of its split.
    """
    return _energy_ranks(task, _split_of(task, sample), modality)[sample]


def target_rank(task: Task, sample: str) -> Tensor:
    """The rank of a sample's target among those of its split."""
    return _target_ranks(task, _split_of(task, sample))[sample]


def _split_of(task: Task, sample: str) -> str:
    return next(split for split in task.splits if sample in _samples(task, split))


@lru_cache(KEPT)
def _samples(task: Task, split: str) -> frozenset[str]:
    return frozenset(task.splits[split].samples)


@lru_cache(KEPT)
def _energy_ranks(task: Task, split: str, modality: str) -> dict[str, Tensor]:
    stand_in = task.modality(modality).stand_in

    def energy(batch: Batch) -> Tensor:
        x = batch.inputs[modality].detach().cpu()
        return (x - stand_in(x)).double().square().flatten(1).sum(1)

    return _ranks(task.splits[split], energy)


@lru_cache(KEPT)
def _target_ranks(task: Task, split: str) -> dict[str, Tensor]:
    return _ranks(task.splits[split], lambda batch: batch.targets.detach().cpu().double())


def _ranks(split: Batch, value: Callable[[Batch], Tensor]) -> dict[str, Tensor]:
    values = torch.cat([value(part) for part in split.in_parts()])
    return dict(zip(split.samples, midranks(values), strict=True))


def midranks(values: Tensor) -> Tensor:
    """The rank of each value (N,) in (0, 1), float64; equal values share the middle of theirs, and
    the mean is one half.
    """
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    middles = counts.cumsum(0) - counts.double() / 2
    ranks: Tensor = middles[inverse] / len(values)
    return ranks
