"""The samples of the test split that are under test, chosen by a hash of their names."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.randomness import keyed_seed
from harness.run.config import Evaluation


def samples_at_once(config: Evaluation) -> int:
    """The samples in a full batch of the run."""
    return config.batch_size if config.samples == "all" else min(config.batch_size, config.samples)


def chosen_rows(config: Evaluation, names: Sequence[str]) -> list[int]:
    """The rows of a split, of samples by these names, that are under test."""
    order = sorted(range(len(names)), key=lambda row: keyed_seed("choice", config.seed, names[row]))
    return order if config.samples == "all" else order[: config.samples]


def kept_rows(config: Evaluation, names: Sequence[str]) -> list[int]:
    """The samples whose witnesses are stored."""
    return _first(config.witnesses, chosen_rows(config, names))


def certified_rows(config: Evaluation, names: Sequence[str]) -> list[int]:
    """The samples that are certified."""
    return [] if config.certify is None else _first(config.certify_samples, chosen_rows(config, names))


def _first(wanted: int | str, chosen: list[int]) -> list[int]:
    return chosen[: wanted if isinstance(wanted, int) else {"none": 0, "all": len(chosen)}[wanted]]
