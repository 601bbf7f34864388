"""The rank of each sample in its split, on which "missing not at random" depends.

Ranks come from the whole split, never from a batch, so a mask does not depend on other samples of
the run.
"""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from harness.tasks import Task

KEPT = 16  # tables of ranks, the latest


@lru_cache(KEPT)
def energy_ranks(task: Task, modality: str) -> dict[str, Tensor]:
    """For each sample of every split, the rank of its energy in a modality: the squared distance
    from the absent value.
    """
    stand_in = task.modality(modality).stand_in
    ranks: dict[str, Tensor] = {}
    for split in task.splits.values():
        x = split.inputs[modality].detach().cpu()
        energy = (x - stand_in(x)).double().square().flatten(1).sum(1)
        ranks |= dict(zip(split.samples, midranks(energy), strict=True))
    return ranks


@lru_cache(KEPT)
def target_ranks(task: Task) -> dict[str, Tensor]:
    """For each sample of every split, the rank of its target."""
    ranks: dict[str, Tensor] = {}
    for split in task.splits.values():
        ranks |= dict(zip(split.samples, midranks(split.targets.detach().cpu().double()), strict=True))
    return ranks


def midranks(values: Tensor) -> Tensor:
    """The rank of each value (N,) in (0, 1), float64; equal values share the middle of theirs, and
    the mean is one half.
    """
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    middles = counts.cumsum(0) - counts.double() / 2
    ranks: Tensor = middles[inverse] / len(values)
    return ranks
