"""A schedule as the user writes it: a rule for missing modalities, and its rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.randomness import keyed_generator
from attacks.region import Inputs
from harness.references.registry import resolve
from harness.schedules.masks import Mask, Sample
from harness.tasks import Batch, Task


@dataclass(frozen=True)
class Schedule:
    """A rule, the modalities it names, the rates it is run at, and the number behind each name if
    there are any.
    """

    name: str
    which: tuple[str, ...]
    levels: tuple[float, ...]
    shares: tuple[float, ...] = ()

    def __str__(self) -> str:
        written = (
            [f"{name}:{share:g}" for name, share in zip(self.which, self.shares, strict=True)]
            if self.shares
            else self.which
        )
        return f"{self.name}({'+'.join(written)})" if written else self.name

    def present(self, task: Task, samples: Sequence[str], rate: float, repeat: int, seed: int) -> Tensor:
        """The mask of each sample, bool (B, M); keyed, so it does not depend on other samples or
        schedules.
        """
        rule: Mask = resolve("schedule", self.name).target
        which = torch.tensor([not self.which or name in self.which for name in task.names])
        written = dict(zip(self.which, self.shares, strict=True)) if self.shares else {}
        shares = torch.tensor([written.get(name, 1.0) for name in task.names])
        rows = []
        for sample in samples:
            generator = keyed_generator("schedule", seed, sample, str(self), repeat)
            draws = torch.rand(len(task.names) + 1, generator=generator)
            rows.append(rule(Sample(task, sample, draws, which, shares), rate))
        return torch.stack(rows)

    def applied(self, task: Task, batch: Batch, rate: float, repeat: int, seed: int) -> tuple[Inputs, Tensor]:
        """The inputs as they are, and which are present, bool (B, M): of those that the samples
        came with; what the task requires stays.
        """
        left = task.kept(self.present(task, batch.samples, rate, repeat, seed))
        return batch.inputs, left & task.present(batch).cpu()


def bits(present: Tensor) -> list[str]:
    """Each row of a mask (B, M) as a string of 0 and 1, in the order of the modalities."""
    return ["".join("1" if bit else "0" for bit in row) for row in present.tolist()]
