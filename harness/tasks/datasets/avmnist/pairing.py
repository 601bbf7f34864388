"""Write the manifests of avMNIST again: ``python -m harness.tasks.datasets.avmnist.pairing``.

A test compares the stored manifests with these.

The recordings of FSDD are known by name and images are counted within their digit, so no data is
needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.tasks.datasets.fsdd import SPEAKERS, TAKES

SEED = 20_26
TRAIN_RANKS, TEST_RANKS = 850, 890  # the rarest digit has so many images in train10k, and in MNIST's test set
ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class Plan:
    """Which split a recording belongs to (None: not used), and how many images it is paired with
    there.
    """

    split_of: Callable[[str, int], str | None]
    images: Mapping[str, int]


def _official(speaker: str, index: int) -> str | None:
    return "test" if index < 5 else "val" if index < 10 else "train"


def _smil(speaker: str, index: int) -> str | None:
    if speaker in ("jackson", "nicolas", "theo"):
        return "test" if index < 15 else "train"
    return "val" if index < 15 else None


PLANS = {
    "avmnist": Plan(_official, {"train": 2, "val": 2, "test": 5}),
    "avmnist-smil": Plan(_smil, {"train": 1, "val": 1, "test": 1}),
}


def lines(name: str) -> list[str]:
    """The manifest of a task: split, recording and ranks of its images within their digit,
    tab-separated.
    """
    # the one generator of NumPy whose stream is promised never to change
    plan, rng = PLANS[name], np.random.RandomState(SEED)
    rows = []
    for digit in range(10):
        train, test = (iter(rng.permutation(count).tolist()) for count in (TRAIN_RANKS, TEST_RANKS))
        for speaker in SPEAKERS:
            for index in range(TAKES):
                if split := plan.split_of(speaker, index):
                    ranks = [next(test if split == "test" else train) for _ in range(plan.images[split])]
                    rows.append((split, f"{digit}_{speaker}_{index}", ",".join(map(str, ranks))))
    rows.sort(key=lambda row: ORDER.index(row[0]))
    return [
        f"# {name}: split, recording, ranks of its images within their digit; seed {SEED}",
        *("\t".join(row) for row in rows),
    ]


def main() -> None:
    """Write every manifest."""
    for name in PLANS:
        (Path(__file__).parent / "data" / f"{name}.tsv").write_text("\n".join(lines(name)) + "\n")


if __name__ == "__main__":
    main()
