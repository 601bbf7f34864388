"""Samples: a batch or a whole split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attacks.errors import BadInput
from attacks.region import Inputs, take

OBJECT_AXES, CORNERS = 3, 4
PAD = 8  # kernels round by the size of the batch; sizes that are multiples of this agree bit for bit
PLACE = "place"  # the input of a model over draws that holds each sample's place in a batch: no data of the task


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of a task.

    Attributes:
        samples: the id of each sample, unique in its split.
        inputs: one tensor (B, ...) per modality, and one for everything else that the task gives
            (see `Task.extra_inputs`).
        targets: (B,) class indices (int64) or (B, ...) real values.
        groups: the group of each sample (a speaker, a site); one group if the data has no groups.
        valid: per modality of variable length, which positions are real, bool (B, ...)
            broadcasting against the modality after trailing axes are added; all others are
            padding.
        present: the modalities that each sample came with, bool (B, M) in the task's order; None:
            all. A missing one holds its absent value. `Task.present` answers for both.
        editable: for each modality that may be changed only in part, which values an attack may
            move, bool (B, ...) of the modality's own shape. In one-hot text, True marks the tokens
            that a position may hold, its own token included: synonyms, so that the question keeps
            its meaning. All values if absent. Corruptions ignore it, because they are accidents.
        annotations: the annotated objects of the image, for recipes that learn to detect first, (B,
            n, 4 + labels): left, top, right and bottom as shares of the image, then whole numbers
            from 0; -1 in padding. No model sees them. None: no annotations.
        referred: the objects that the question means, bool (B, n), for recipes that learn to ground
            it first. None: unknown.
        sources: the origin of each sample (an image, a video, a person); no source may be in two
            splits. Empty: unknown.
    """

    samples: tuple[str, ...]
    inputs: Inputs
    targets: Tensor
    groups: tuple[str, ...]
    valid: Inputs = field(default_factory=dict)
    present: Tensor | None = None
    editable: Inputs = field(default_factory=dict)
    annotations: Tensor | None = None
    referred: Tensor | None = None
    sources: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def check_annotations(self) -> None:
        """Refuse annotations and references that break the rules above.

        Raises:
            BadInput: they are of another shape, type or range.
        """
        if self.annotations is None:
            return
        x, count = self.annotations, len(self)
        if x.ndim != OBJECT_AXES or len(x) != count or x.shape[2] <= CORNERS or not x.is_floating_point():
            raise BadInput(
                f"annotations have shape {tuple(x.shape)} of {x.dtype}: give real numbers ({count}, n, 4 + labels)"
            )
        there, labels = x[x[..., CORNERS] != -1][:, :CORNERS], x[..., CORNERS:]
        if len(strange := there[~((there >= 0) & (there <= 1))]):
            raise BadInput(
                f"annotations have a corner at {strange[0]:g}: give corners as shares of the image, from 0 to 1"
            )
        if len(strange := labels[~((labels >= -1) & (labels == labels.floor()))]):
            raise BadInput(f"annotations have a label {strange[0]:g}: give whole numbers from 0, and -1 in padding")
        if self.referred is not None and (self.referred.shape != x.shape[:2] or self.referred.dtype != torch.bool):
            raise BadInput(
                f"referred has shape {tuple(self.referred.shape)} of {self.referred.dtype}: give bool"
                f" {tuple(x.shape[:2])}, one per object"
            )

    def plan(self, batches: Sequence[Sequence[int]]) -> None:
        """What will be taken next; samples in memory need no reading ahead."""

    def each(self, batches: Sequence[Sequence[int]]) -> Iterator[Batch]:
        """The batches one after another."""
        for rows in batches:
            yield self.take(rows)

    def some(self, rows: Sequence[int] | Tensor) -> Batch:
        """The split of the chosen rows."""
        return self.take(rows)

    def followed_by(self, change: Callable[[Batch], Batch]) -> Batch:
        """The split with a change of every batch."""
        return change(self)

    def take(self, rows: Sequence[int] | Tensor) -> Batch:
        """The chosen rows, in the given order."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        numbers = index.tolist()
        index = index.to(self.targets.device)
        return Batch(
            tuple(self.samples[row] for row in numbers),
            self.inputs_of(index),
            self.targets[index],
            tuple(self.groups[row] for row in numbers),
            take(self.valid, index),
            None if self.present is None else self.present[index],
            take(self.editable, index),
            None if self.annotations is None else self.annotations[index],
            None if self.referred is None else self.referred[index],
            tuple(self.sources[row] for row in numbers) if self.sources else (),
        )

    def inputs_of(self, rows: Tensor) -> Inputs:
        """The inputs of the chosen rows (int64)."""
        return take(self.inputs, rows)

    def in_parts(self) -> Iterator[Batch]:
        """The samples in order, in parts that need little memory besides the split."""
        yield self

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        inputs = {name: x.to(device) for name, x in self.inputs.items()}
        valid = {name: mask.to(device) for name, mask in self.valid.items()}
        present = None if self.present is None else self.present.to(device)
        free = {name: mask.to(device) for name, mask in self.editable.items()}
        objects = None if self.annotations is None else self.annotations.to(device)
        referred = None if self.referred is None else self.referred.to(device)
        return Batch(
            self.samples,
            inputs,
            self.targets.to(device),
            self.groups,
            valid,
            present,
            free,
            objects,
            referred,
            self.sources,
        )


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches of one split behind each other; no annotations."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    masks = [each.present for each in batches]
    whole = [torch.ones(len(each), _columns(masks), dtype=torch.bool) for each in batches]
    there = [each if mask is None else mask for each, mask in zip(whole, masks, strict=True)]
    return Batch(
        tuple(sample for each in batches for sample in each.samples),
        {name: torch.cat([each.inputs[name] for each in batches]) for name in first.inputs},
        torch.cat([each.targets for each in batches]),
        tuple(group for each in batches for group in each.groups),
        {name: torch.cat([each.valid[name] for each in batches]) for name in first.valid},
        torch.cat(there) if any(mask is not None for mask in masks) else None,
        {name: torch.cat([each.editable[name] for each in batches]) for name in first.editable},
        sources=tuple(source for each in batches for source in each.sources),
    )


def _columns(masks: Sequence[Tensor | None]) -> int:
    return next((mask.shape[1] for mask in masks if mask is not None), 0)
