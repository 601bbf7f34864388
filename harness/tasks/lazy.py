"""Splits that are read as they are needed, for data that does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from attacks.errors import BadInput, ModelBroke, plain, shown
from attacks.randomness import keyed_seed
from attacks.region import Inputs
from harness.tasks.batch import Batch
from harness.tasks.incomplete import refuse_empty
from harness.tasks.items import Items, Read, lacks, one, paired
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Problem, Regression
from harness.tasks.sample_hashes import sample_hashes
from harness.tasks.tensors import real_tensors, target_tensor

TARGET = "target of the item"  # beside the inputs, which have other names
AHEAD = 2  # batches that each reader holds ready
AT_ONCE = 16  # samples, where a whole split is read


class Unreadable(ModelBroke):
    """A sample cannot be read, or does not fit the task: it costs its own rows, once a run is under
    way.
    """


@dataclass(frozen=True)
class Unread:
    """Why an item could not be read: it is raised where the batch is used, not in its reader."""

    why: str


@dataclass(frozen=True, eq=False)
class Source:
    """Where the samples of a split come from.

    Attributes:
        split: its name.
        items: the data set.
        read: what an item holds.
        modalities: those of the task.
        extra_inputs: names of the inputs that are not modalities.
        problem: checks the targets.
        readers: processes that read ahead; 0 reads in this one.
        required: modalities that no sample may lack.
    """

    split: str
    items: Items
    read: Read
    modalities: tuple[Modality, ...]
    extra_inputs: tuple[str, ...]
    problem: Problem
    readers: int
    required: tuple[str, ...] = ()

    def item(self, index: int) -> dict[str, Tensor | None] | Unread:
        """The inputs of an item and its target, in their own types."""
        try:
            inputs, target = paired(self.read(self.items[index]))
            names = (*(each.name for each in self.modalities), *self.extra_inputs)
            if sorted(inputs) != sorted(names):
                return Unread(f"it has the inputs {', '.join(map(str, inputs))}, and the task needs {', '.join(names)}")
            if without := [name for name in self.required if lacks(inputs[name])]:
                return Unread(f"it lacks {without[0]}, which the task requires: leave the sample out")
            held = {name: None if lacks(inputs[name]) else one(name, inputs[name]) for name in names}
            return {**held, TARGET: one("target", target)}
        except BadInput as error:
            return Unread(str(error))
        except Exception as error:  # of a user's data set
            return Unread(f"{type(error).__name__}: {plain(str(error))[:300]}")


class _Rows:
    """A source as DataLoader wants it: one entry for each position."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, index: int) -> tuple[int, dict[str, Tensor | None] | Unread]:
        return index, self.source.item(index)


@dataclass(eq=False)
class _Ahead:
    """What is being read ahead, and what was read.

    Attributes:
        planned: the batches to come, as rows.
        coming: what the readers give for them.
        begun: how many times readers began.
        hashes: of the inputs and the target of each sample that was read.
    """

    planned: list[tuple[int, ...]] = field(default_factory=list)
    coming: Iterator[Any] = field(default_factory=lambda: iter(()))
    begun: int = 0
    hashes: dict[str, str] = field(default_factory=dict)


class LazySplit(Batch):
    """A split whose samples are read when they are taken. What needs all of its inputs or targets
    at once is refused.

    Args:
        source: where its samples come from.
        rows: the position of each sample in the data set.
        samples, groups, sources: see `Batch`.
        then: changes of every batch that was read.
    """

    source: Source
    rows: tuple[int, ...]
    then: tuple[Callable[[Batch], Batch], ...]
    _ahead: _Ahead

    def __init__(
        self,
        source: Source,
        rows: Sequence[int],
        samples: tuple[str, ...],
        groups: tuple[str, ...],
        sources: tuple[str, ...] = (),
        then: Sequence[Callable[[Batch], Batch]] = (),
    ) -> None:
        nothing: dict[str, Any] = {"present": None, "valid": {}, "editable": {}, "annotations": None, "referred": None}
        own = {"source": source, "rows": tuple(rows), "then": tuple(then), "_ahead": _Ahead()}
        self.__dict__.update(samples=samples, groups=groups, sources=sources, **nothing, **own)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def inputs(self) -> Inputs:
        """Refused: they are not in memory."""
        raise self._needs_memory()

    @property
    def targets(self) -> Tensor:
        """Refused: they are not in memory."""
        raise self._needs_memory()

    def _needs_memory(self) -> BadInput:
        return BadInput(
            f"this needs all samples of split {self.source.split!r} at once, and the task reads them one by one: make"
            " the task with Task.from_arrays"
        )

    def take(self, rows: Sequence[int] | Tensor) -> Batch:
        """The chosen rows, in the given order, read now or ahead.

        Raises:
            BadInput: a sample cannot be read, does not fit the task, or is another one than when it
                was read before.
        """
        chosen = tuple(torch.as_tensor(rows, dtype=torch.int64).tolist())
        items = self._from_readers() if self._ahead.planned[:1] == [chosen] else None
        return self._batch(chosen, items or [self.source.item(self.rows[row]) for row in chosen])

    def _from_readers(self) -> list[Any] | None:
        """The items of the next batch that is read ahead; None where a reader has ended.

        What interrupts the wait (a time limit), or ends a reader, may lose a batch. So the readers
        begin again behind this one: later batches must get their own samples.
        """
        batch, *later = self._ahead.planned
        try:
            read = next(self._ahead.coming)
            if [index for index, _ in read] == [self.rows[row] for row in batch]:
                self._ahead.planned = later
                return [item for _, item in read]
        except (RuntimeError, OSError, EOFError, StopIteration):  # as DataLoader says that a reader was killed
            pass
        except BaseException:
            self.plan(later)
            raise
        self.plan(later)
        return None

    def plan(self, batches: Sequence[Sequence[int]]) -> None:
        """Read these batches ahead, in readers of their own, for `take` in this order."""
        self._ahead.planned, self._ahead.coming = [], iter(())
        if not self.source.readers or not batches:
            return
        self._ahead.planned, self._ahead.begun = [tuple(rows) for rows in batches], self._ahead.begun + 1
        seed = keyed_seed("readers", torch.initial_seed(), self.source.split, self._ahead.begun)
        self._ahead.coming = iter(
            DataLoader(
                _Rows(self.source),  # type: ignore[arg-type]
                batch_sampler=[[self.rows[row] for row in rows] for rows in self._ahead.planned],
                num_workers=self.source.readers,
                prefetch_factor=AHEAD,
                collate_fn=list,
                generator=torch.Generator().manual_seed(seed),  # else it draws from the global one
            )
        )

    def each(self, batches: Sequence[Sequence[int]]) -> Iterator[Batch]:
        """The batches one after another, the next ones read ahead."""
        self.plan(batches)
        for rows in batches:
            yield self.take(rows)

    def __getstate__(self) -> dict[str, Any]:
        """What copies take: not what is being read ahead."""
        return {**self.__dict__, "_ahead": _Ahead(hashes=dict(self._ahead.hashes))}

    def in_parts(self) -> Iterator[Batch]:
        """All samples in order, some at a time: the whole split is read."""
        return self.each([rows.tolist() for rows in torch.arange(len(self)).split(AT_ONCE)])

    def some(self, rows: Sequence[int] | Tensor) -> LazySplit:
        """The split of the chosen rows; nothing is read."""
        chosen = torch.as_tensor(rows, dtype=torch.int64).tolist()
        samples, groups = (tuple(names[row] for row in chosen) for names in (self.samples, self.groups))
        sources = tuple(self.sources[row] for row in chosen) if self.sources else ()
        return LazySplit(self.source, [self.rows[row] for row in chosen], samples, groups, sources, self.then)

    def followed_by(self, change: Callable[[Batch], Batch]) -> LazySplit:
        """The split with a change of every batch that is read."""
        return LazySplit(self.source, self.rows, self.samples, self.groups, self.sources, (*self.then, change))

    def _batch(self, rows: tuple[int, ...], items: Sequence[Any]) -> Batch:
        """The samples together; where they do not fit the task, the first that does not is named.

        Raises:
            Unreadable: a sample cannot be read, or does not fit the task.
        """
        for row, item in zip(rows, items, strict=True):
            if isinstance(item, Unread):
                raise self._unreadable(row, f"cannot be read: {item.why}")
        try:
            batch = self._together(rows, items)
        except BadInput:
            for row, item in zip(rows, items, strict=True):
                try:
                    self._together((row,), [item])
                except BadInput as error:
                    raise self._unreadable(row, f"does not fit the task: {error}") from None
            raise
        self._refuse_changed(batch)
        for change in self.then:
            batch = change(batch)
        return batch

    def _unreadable(self, row: int, why: str) -> Unreadable:
        return Unreadable(f"sample {shown(self.samples[row])} of split {self.source.split!r} {why}")

    def _together(self, rows: tuple[int, ...], found: Sequence[dict[str, Any]]) -> Batch:
        source, samples = self.source, tuple(self.samples[row] for row in rows)
        given = _stacked("target", samples, [item[TARGET] for item in found])
        targets = target_tensor("the target", given, isinstance(source.problem, Regression))
        source.problem.check_targets(targets)
        there = torch.tensor([[item[each.name] is not None for each in source.modalities] for item in found])
        inputs = {each.name: _values(each, samples, [item[each.name] for item in found]) for each in source.modalities}
        inputs |= {name: _stacked(name, samples, [item[name] for item in found]) for name in source.extra_inputs}
        batch = Batch(
            samples,
            inputs,
            targets,
            tuple(self.groups[row] for row in rows),
            present=None if bool(there.all()) else there,
            sources=tuple(self.sources[row] for row in rows) if self.sources else (),
        )
        if source.split == "test":
            refuse_empty(f"split {source.split!r}", batch)
        return batch

    def _refuse_changed(self, batch: Batch) -> None:
        """A sample that is tested is the same each time; training may vary what it reads."""
        if self.source.split != "test":
            return
        for sample, found in zip(batch.samples, sample_hashes(batch), strict=True):
            if self._ahead.hashes.setdefault(sample, found) != found:
                raise BadInput(
                    f"test sample {shown(sample)} differs between two readings: leave random changes to the split train"
                )


def _values(modality: Modality, samples: Sequence[str], values: Sequence[Tensor | None]) -> Tensor:
    """One modality of some samples in float32, the stand-in where it is absent."""
    absent = torch.as_tensor(modality.absent, dtype=torch.float32).expand(modality.shape)
    filled = [absent if x is None else x for x in values]
    wrong = next((at for at, x in enumerate(filled) if tuple(x.shape) != modality.shape), None)
    if wrong is not None:
        raise BadInput(
            f"sample {shown(samples[wrong])} has modality {modality.name!r} of shape {tuple(filled[wrong].shape)}, and"
            f" the task declares {modality.shape}: bring all samples to one shape"
        )
    if there := [at for at, x in enumerate(values) if x is not None]:
        real = real_tensors(f"modality {modality.name!r}", [filled[at] for at in there])
        filled = [x if values[at] is None else real[there.index(at)] for at, x in enumerate(filled)]
    x = torch.stack(filled)
    modality.check(x)
    return x


def _stacked(what: str, samples: Sequence[str], values: Sequence[Tensor]) -> Tensor:
    shapes = {tuple(value.shape): sample for sample, value in zip(samples, values, strict=True)}
    if len(shapes) > 1:
        (one, first), (other, second) = list(shapes.items())[:2]
        raise BadInput(
            f"{what} of sample {shown(first)} has shape {one}, that of sample {shown(second)} has {other}: bring all"
            " samples to one shape, as by padding"
        )
    try:
        return torch.stack(list(values))
    except (RuntimeError, TypeError) as error:
        raise BadInput(f"{what} of samples {samples[0]} to {samples[-1]}: {plain(str(error))}") from None
