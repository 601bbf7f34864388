"""A gap: a stretch of time or space missing inside a modality that is otherwise there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.randomness import keyed_generator
from attacks.region import Inputs
from harness.tasks import Batch, Modality, Task
from harness.tasks.axes import positions


@dataclass(frozen=True)
class Gap:
    """A stretch of each named modality is replaced by its absent value; the rate is the fraction
    replaced.

    The stretch lies at a place that is drawn for each sample. A stretch at a higher level covers
    it. In an image it is a block of rows and columns. In everything else it is a run along the
    first axis: time, characters, or the values of a vector; in a sound of several channels it is
    the same stretch of time in each.

    Attributes:
        which: the modalities with a gap; all modalities if the schedule names none.
        levels: the fractions of positions replaced, to the nearest position.
    """

    which: tuple[str, ...]
    levels: tuple[float, ...]

    def __str__(self) -> str:
        return f"gap({'+'.join(self.which)})" if self.which else "gap"

    def applied(self, task: Task, batch: Batch, level: float, repeat: int, seed: int) -> tuple[Inputs, Tensor]:
        """The inputs with the gaps, and which are present, bool (B, M): all."""
        inputs = dict(batch.inputs)
        for modality in task.modalities:
            if level and modality.name in (self.which or task.names):
                inputs[modality.name] = self._with_gap(modality, batch, level, repeat, seed)
        return inputs, task.present(batch).cpu()

    def _with_gap(self, modality: Modality, batch: Batch, level: float, repeat: int, seed: int) -> Tensor:
        x = batch.inputs[modality.name]
        first, last = positions(modality.kind, modality.shape)
        sizes, real = modality.shape[first:last], _real(modality, batch)
        missing = []
        for sample, valid in zip(batch.samples, real, strict=True):
            draws = torch.rand(
                len(sizes), generator=keyed_generator("schedule", seed, sample, str(self), modality.name, repeat)
            )
            missing.append(stretch(sizes, level, draws, valid))
        hole = (
            torch.stack(missing).reshape(len(x), *[1] * first, *sizes, *[1] * (len(modality.shape) - last)).to(x.device)
        )
        return torch.where(hole, modality.stand_in(x), x)


def _real(modality: Modality, batch: Batch) -> Sequence[Tensor | None]:
    """For each sample, which positions are not padding; in an image or a video all count."""
    valid = batch.valid.get(modality.name)
    if valid is None or modality.kind in ("image", "video"):
        return [None] * len(batch)
    if modality.kind == "audio":
        return list(valid.cpu().flatten(1, -2).any(1) if valid.ndim > 2 else valid.cpu())
    return list(valid.cpu().flatten(2).any(2) if valid.ndim > 2 else valid.cpu())


def stretch(sizes: tuple[int, ...], level: float, draws: Tensor, valid: Tensor | None = None) -> Tensor:
    """Which positions of a grid are missing, bool (*sizes): that fraction of the valid positions,
    those nearest to a random centre.

    The distance is the largest over the axes, as a share of each axis: this gives a run on a line
    and a block on a plane. In a tie the first position is missing.
    """
    offsets = [
        ((torch.arange(size) + 0.5) / size - centre).abs().reshape(*[1] * axis, -1, *[1] * (len(sizes) - axis - 1))
        for axis, (size, centre) in enumerate(zip(sizes, draws.tolist(), strict=True))
    ]
    distance = torch.stack(torch.broadcast_tensors(*offsets)).amax(0)
    if valid is not None:
        distance = torch.where(valid, distance, torch.inf)
    count = round(level * int(distance.isfinite().sum()))
    hole = torch.zeros(distance.numel(), dtype=torch.bool)
    hole[distance.flatten().argsort(stable=True)[:count]] = True
    return hole.reshape(sizes)
