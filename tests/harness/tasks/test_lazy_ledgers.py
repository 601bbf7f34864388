"""Every kind of task gives the same ledger, bit for bit, read one sample at a time and held in
memory.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import pytest

import harness
from harness.engine.loading import build_model, load_task
from harness.models.contrastive.simclr import simclr
from harness.tasks import Task
from tests.harness.tasks.one_by_one import one_by_one
from tests.harness.tasks.problems.linear_tasks import MODELS, TASKS

SHORT: dict[str, Any] = {"search": "fast", "samples": 4, "repeats": 1, "trust": False}
ORDERS = {
    "ledger": ["scenario", "threshold", "sample"],
    "sweep": ["kind", "name", "level", "repeat", "sample"],
}


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
