"""Splits of arrays that stay as they were given: rows become float32 when they are taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from attacks.region import Inputs
from harness.tasks.batch import Batch
from harness.tasks.modality import Modality
from harness.tasks.tensors import pieces

Rows = slice | Tensor


@dataclass(frozen=True, eq=False)
class Held:
    """All samples of a task, each array as it was given.

    Attributes:
        modalities: of the task.
        inputs: (N, ...) for each modality in its own type, and for each extra input.
        there: for a modality with padding, or that some samples lack, which values are real, bool
            (N, ...) broadcasting against it; the others become its absent value.
        samples, targets, groups, valid, present, editable, sources: see `Batch`.
    """

    modalities: tuple[Modality, ...]
    inputs: Inputs
    there: Inputs
    samples: tuple[str, ...]
    targets: Tensor
    groups: tuple[str, ...]
    valid: Inputs = field(default_factory=dict)
    present: Tensor | None = None
    editable: Inputs = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def at(self, rows: Rows) -> Inputs:
        """The inputs of some samples, modalities in float32; a view where nothing has to change."""
        found = {name: x[rows] for name, x in self.inputs.items()}
        for modality in self.modalities:
            x = found[modality.name].float()
            there = self.there.get(modality.name)
            found[modality.name] = x if there is None else torch.where(there[rows], x, modality.stand_in(x))
        return found


class HeldSplit(Batch):
    """A split of samples that are held as they were given. All of its inputs at once are a copy,
    made when they are first asked for, unless the samples lie beside each other in float32.

    Args:
        held: the samples of all splits.
        rows: which of them, in order.
    """

    held: Held
    rows: Tensor

    def __new__(cls, *args: Any, **fields: Any) -> Any:
        """`dataclasses.replace` gives every field by name: the result is a plain batch."""
        return Batch(**fields) if fields else super().__new__(cls)

    def __init__(self, held: Held, rows: Sequence[int] | Tensor) -> None:
        index = torch.as_tensor(rows, dtype=torch.int64)
        span, numbers = _span(index), index.tolist()
        samples, groups = (tuple(each[row] for row in numbers) for each in (held.samples, held.groups))
        self.__dict__.update(
            held=held,
            rows=index,
            samples=samples,
            groups=groups,
            targets=held.targets[span],
            valid=_some(held.valid, span),
            present=None if held.present is None else held.present[span],
            editable=_some(held.editable, span),
            annotations=None,
            referred=None,
            sources=tuple(held.sources[row] for row in numbers) if held.sources else (),
        )

    @cached_property
    def inputs(self) -> Inputs:
        """All inputs of the split."""
        return self.held.at(_span(self.rows))

    def inputs_of(self, rows: Tensor) -> Inputs:
        return self.held.at(self.rows[rows])

    def some(self, rows: Sequence[int] | Tensor) -> HeldSplit:
        """The split of the chosen rows; nothing is copied."""
        return HeldSplit(self.held, self.rows[torch.as_tensor(rows, dtype=torch.int64)])

    def in_parts(self) -> Iterator[Batch]:
        """The samples in order, a few megabytes at a time."""
        widest = max(self.held.inputs.values(), key=lambda x: x[0].numel())
        for rows in pieces(widest[: len(self)]):
            yield self.take(range(rows.start, rows.stop))


def _some(tensors: Mapping[str, Tensor], rows: Rows) -> Inputs:
    return {name: x[rows] for name, x in tensors.items()}


def _span(index: Tensor) -> Rows:
    """Rows that lie beside each other as a slice, which is no copy."""
    first, last = (int(index[0]), int(index[-1])) if len(index) else (0, -1)
    beside = last - first + 1 == len(index) and bool((index.diff() == 1).all())
    return slice(first, last + 1) if beside else index
