"""The splits of a task: test, and train and val where there are any."""

from __future__ import annotations

from collections.abc import Mapping

from attacks.errors import BadInput, unknown
from harness.tasks.batch import Batch

WITHOUT = {
    "train": "training, nearest neighbours and means over the training data need them",
    "val": "training needs them to choose an epoch",
}


class Splits(dict[str, Batch]):
    """The splits of a task by name; a split that it does not have is refused when it is read."""

    def __init__(self, task: str, splits: Mapping[str, Batch]) -> None:
        super().__init__(splits)
        self.task = task

    def __missing__(self, split: str) -> Batch:
        if split not in WITHOUT:
            raise unknown("split", split, ("test", *WITHOUT))
        raise BadInput(f"task {self.task!r} has no {split} samples, and {WITHOUT[split]}: give it a split {split!r}")
