"""Small files in the layouts of data sets that nobody may pass on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

COUNTS = {"train": 40, "valid": 10, "test": 20}


def save(folder: Path, arrays: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "arrays.npz", **arrays)


def sentiment_arrays(steps: int = 5) -> dict[str, Any]:
    """Aligned sequences with leading and trailing zeros, labels (N, 1, 1) as the usual files have
    them.
    """
    rng, arrays = np.random.default_rng(0), {}
    for split, count in COUNTS.items():
        labels = rng.uniform(-3, 3, (count, 1, 1))
        arrays[f"{split}_labels"] = labels
        for name, size in {"text": 6, "audio": 4, "vision": 3}.items():
            x = labels + rng.normal(size=(count, steps, size))
            x[:, 0], x[: count // 2, -1] = 0, 0
            arrays[f"{split}_{name}"] = x.astype("float32")
    return arrays


def action_arrays() -> dict[str, Any]:
    """Features that know the verb (of 3) and the noun (of 4)."""
    rng, arrays = np.random.default_rng(0), {}
    for split, count in COUNTS.items():
        verb, noun = np.arange(count) % 3, np.arange(count) % 4
        arrays |= {f"{split}_verb": verb, f"{split}_noun": noun}
        for name, size in {"visual": 8, "motion": 6, "audio": 5}.items():
            arrays[f"{split}_{name}"] = 5 * np.eye(12)[3 * noun + verb][:, :size] + rng.normal(size=(count, size))
    return arrays


WRITERS: dict[str, Callable[[Path], None]] = {
    "mosei": lambda folder: save(folder, sentiment_arrays()),
    "mosi-regression": lambda folder: save(folder, sentiment_arrays()),
    "epic-kitchens": lambda folder: save(folder, action_arrays()),
}
