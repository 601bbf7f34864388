"""A task in memory, read one sample at a time."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from harness.tasks import Batch, Task
from harness.tasks.lazy import LazySplit, Source


def one_by_one(task: Task, readers: int = 0) -> Task:
    """The task with its samples read when they are taken, masks included."""
    return replace(task, splits={name: _read(task, name, split, readers) for name, split in task.splits.items()})


def _read(task: Task, name: str, split: Batch, readers: int) -> Batch:
    class Items:
        def __len__(self) -> int:
            return len(split)

        def __getitem__(self, index: int) -> tuple[dict[str, Tensor], Tensor]:
            batch = split.take([index])
            return {key: x[0] for key, x in batch.inputs.items()}, batch.targets[0]

    rows = {sample: row for row, sample in enumerate(split.samples)}

    def masked(batch: Batch) -> Batch:
        whole = split.take([rows[sample] for sample in batch.samples])
        return replace(batch, valid=whole.valid, editable=whole.editable, present=whole.present)

    source = Source(name, Items(), lambda item: item, task.modalities, task.extra_inputs, task.problem, readers)
    lazy = LazySplit(source, range(len(split)), split.samples, split.groups, split.sources)
    return lazy.followed_by(masked)
