"""The weights of dense models belong to the rooms as they are made today."""

from __future__ import annotations

import pytest
import torch

from harness.engine.loading import load_model, load_task
from harness.models.checkpoint import committed, read_card
from harness.tasks import Batch, Task

MODELS = {"rooms": ("segmenter", "miou"), "rooms-boxes": ("detector", "map50")}


def parts(batch: Batch) -> list[Batch]:
    return [batch.take(rows) for rows in torch.arange(len(batch)).split(100)]


@pytest.fixture(scope="module", params=sorted(MODELS))
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(request.param)


def test_the_rooms_are_those_that_the_weights_learnt(task: Task) -> None:
    """The seeds are frozen, and rendering gives the same bits again."""
    assert read_card(committed(task.name, MODELS[task.name][0]))["data_hash"] == task.data_hash


def test_the_weights_reach_what_their_card_states(task: Task) -> None:
    model, metric = MODELS[task.name]
    test, stated = task.splits["test"], read_card(committed(task.name, model))["metrics"]
    module = load_model(model, task, torch.device("cpu")).module
    with torch.no_grad():
        tallies = [task.problem.tally(module(part.inputs, None), part.targets) for part in parts(test)]
    metrics = task.problem.metrics(torch.cat(tallies))
    assert metrics[metric] == pytest.approx(stated[f"test_{metric}"], abs=1e-3)
    assert sum(x.numel() for x in module.parameters()) < 200_000
