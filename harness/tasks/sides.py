"""Samples in two splits: shared ids and sources are refused, and equal inputs are counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch


def held_out(source: str, one_in: int) -> bool:
    """Whether a source of training samples (an image, a place) belongs to validation, by a hash of
    its name: one in `one_in` does. Other sources do not change this.
    """
    return int(hashlib.sha256(source.encode()).hexdigest(), 16) % one_in == 0


def check_sides(task: str, splits: Mapping[str, Batch]) -> None:
    """Refuse a sample id that a split has twice, and an id or a source that two splits have.

    Raises:
        BadInput: the number of sources differs from the number of samples; or two splits share an
            id or a source. The message names it, the number of others, and both splits.
    """
    for split, batch in splits.items():
        if batch.sources and len(batch.sources) != len(batch):
            raise BadInput(
                f"split {split!r} of task {task!r} has {len(batch.sources)} sources for {len(batch)} samples: give"
                " each sample one"
            )
        sample, count = Counter(batch.samples).most_common(1)[0]
        if count > 1:
            raise BadInput(
                f"split {split!r} of task {task!r} has {count} samples with the id {sample!r}: give each sample its"
                " own id"
            )
    _check("sample", task, {split: set(batch.samples) for split, batch in splits.items()}, "keep each in one split")
    _check("source", task, {split: set(batch.sources) for split, batch in splits.items()}, "keep each in one split")


def check_groups(task: str, splits: Mapping[str, Batch], kinds: Collection[str]) -> None:
    """Refuse a group that two splits have: samples that a user's arrays group, such as those of a
    patient, belong together.

    Args:
        kinds: groups that are kinds of samples, which every split may have. A task with one group
            has no such kinds.

    Raises:
        BadInput: naming the group, how many more there are, and both splits.
    """
    sides = {split: set(batch.groups) - set(kinds) for split, batch in splits.items()}
    if len(set().union(*sides.values())) > 1:
        _check(
            "group",
            task,
            sides,
            "keep each in one split, as splits= names it, or allow them with duplicates='allowed'",
        )


def _check(what: str, task: str, sides: Mapping[str, set[str]], mend: str) -> None:
    for (one, here), (other, there) in combinations(sides.items(), 2):
        if shared := sorted(here & there):
            more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            raise BadInput(
                f"{what} {shown(shared[0])}{more} of task {task!r} is in {one} and in {other}, so a model would be"
                f" tested on its training data: {mend}"
            )


def repeated(test: Sequence[str], others: Sequence[str]) -> str:
    """How many test samples have the inputs of another sample, in words; empty where no sample has.

    Args:
        test: a hash of the inputs of each test sample.
        others: the same of each sample of the other splits.
    """
    known, counts = set(others), Counter(test)
    repeats = {
        "a sample of train or val": sum(each in known for each in test),
        "another test sample": sum(counts[each] > 1 for each in test),
    }
    return "; ".join(
        f"{count} of {len(test)} test samples have the same inputs as {what}"
        for what, count in repeats.items()
        if count
    )
