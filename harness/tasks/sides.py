"""What may not stand on two sides of a split, and what should not: ids, sources, and equal inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch

OR_MEANT = ", as splits= names it, or say that it is meant with duplicates='allowed'"


def check_sides(task: str, splits: Mapping[str, Batch], anywhere: Collection[str] | None = ()) -> None:
    """Refuse a sample id that a split has twice, and an id, a source or a group that two splits have.

    A task of one group knows none.

    Args:
        anywhere: groups that are kinds of samples, which every split has; None where all are.

    Raises:
        BadInput: sources are not as many as samples; or naming the id or source, how many more there are, and both splits.
    """
    for split, batch in splits.items():
        if len(batch.sources) not in (0, len(batch)):
            raise BadInput(f"split {split!r} of task {task!r} has {len(batch.sources)} sources for {len(batch)} samples: name one for each")
        sample, count = Counter(batch.samples).most_common(1)[0]
        if count > 1:
            raise BadInput(f"split {split!r} of task {task!r} has {count} samples of the id {sample!r}: give each its own")
    groups = {group for batch in splits.values() for group in batch.groups}
    for (one, first), (other, second) in combinations(splits.items(), 2):
        kinds = {*first.groups, *second.groups} if anywhere is None or len(groups) < 2 else set(anywhere)
        for what in ("samples", "sources", "groups"):
            here, there = set(getattr(first, what)), set(getattr(second, what))
            if shared := sorted(here & there - (kinds if what == "groups" else set())):
                more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
                raise BadInput(
                    f"{what.removesuffix('s')} {shown(shared[0])}{more} of task {task!r} is in {one} and in {other}, "
                    "so that a model would be tested on "
                    f"what it learnt from: keep each in one split{OR_MEANT if what == 'groups' else ''}"
                )


def repeated(test: Sequence[str], others: Sequence[str]) -> str:
    """How many test samples have the inputs of another sample, in words; empty where none has.

    Args:
        test: a hash of the inputs of each test sample.
        others: the same of each sample of the other splits.
    """
    known, counts = set(others), Counter(test)
    told = {
        "a sample of train or val": sum(each in known for each in test),
        "another test sample": sum(counts[each] > 1 for each in test),
    }
    return "; ".join(f"{count} of {len(test)} test samples have the same inputs as {what}" for what, count in told.items() if count)
