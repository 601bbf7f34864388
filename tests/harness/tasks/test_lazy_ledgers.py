"""Every kind of task gives the same ledger, bit for bit, read one sample at a time and held in
memory.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import pytest
from torch import Tensor

import harness
from harness.engine.loading import build_model, load_task
from harness.models.contrastive.simclr import simclr
from harness.tasks import Batch, Task
from harness.tasks.lazy import LazySplit, Source
from tests.harness.tasks.problems.linear_tasks import MODELS, TASKS

SHORT: dict[str, Any] = {"search": "fast", "samples": 4, "repeats": 1, "trust": False}
ORDERS = {
    "ledger": ["scenario", "threshold", "sample"],
    "sweep": ["kind", "name", "level", "repeat", "sample"],
}


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


def tables(task: Task, models: dict[str, Any], **options: Any) -> dict[str, pd.DataFrame]:
    found = harness.evaluate(task, models, **{**SHORT, **options})
    assert found.status == "complete" and not found.errors
    return {
        name: getattr(found, name).drop(columns="run").sort_values(order, ignore_index=True)
        for name, order in ORDERS.items()
    }


def same(task: Task, models: dict[str, Any], readers: int = 0, **options: Any) -> bool:
    held, read = tables(task, models, **options), tables(one_by_one(task, readers), models, **options)
    return all(len(held[name]) and held[name].equals(read[name]) for name in ORDERS)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_problem(name: str) -> None:
    assert same(TASKS[name](), {"mine": MODELS[name]()})


@pytest.mark.parametrize("readers", [0, 2])
def test_images_sounds_and_texts(readers: int) -> None:
    """Also by corruptions, and by schedules that look at the whole split."""
    options = {
        "schedules": ["mcar:0.5", "mnar:0.5", "mnar-label:0.5"],
        "corruptions": ["image@noise:3", "text@typos:3"],
    }
    assert same(load_task("digits"), {"concat": "concat"}, readers, **options)


def test_questions_whose_words_have_synonyms() -> None:
    assert same(load_task("counting"), {"mean": partial(build_model, "mean")}, schedules=["mcar:0.5"])


def test_neighbours() -> None:
    """A model without classes is judged by its nearest training samples."""
    task = load_task("digits")
    assert same(task, {"simclr": simclr(task, "image").eval()}, judge="neighbours", schedules=["mcar:0.5"])
