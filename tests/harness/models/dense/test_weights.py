"""The segmenter's weights belong to the rooms as they are made today."""

from __future__ import annotations

import pytest
import torch

from harness.engine.loading import load_model, load_task
from harness.models.checkpoint import committed, read_card
from harness.tasks import Batch, Task


def parts(batch: Batch) -> list[Batch]:
    return [batch.take(rows) for rows in torch.arange(len(batch)).split(100)]


@pytest.fixture(scope="module")
def rooms() -> Task:
    return load_task("rooms")


def test_the_rooms_are_those_that_the_weights_learnt(rooms: Task) -> None:
    """The seeds are frozen, and rendering gives the same bits again."""
    assert read_card(committed("rooms", "segmenter"))["data_hash"] == rooms.data_hash


def test_the_weights_reach_what_their_card_states(rooms: Task) -> None:
    test, stated = rooms.splits["test"], read_card(committed("rooms", "segmenter"))["metrics"]
    module = load_model("segmenter", rooms, torch.device("cpu")).module
    with torch.no_grad():
        tallies = [rooms.problem.tally(module(part.inputs, None), part.targets) for part in parts(test)]
    metrics = rooms.problem.metrics(torch.cat(tallies))
    assert metrics["miou"] == pytest.approx(stated["test_miou"], abs=1e-3)
    assert sum(x.numel() for x in module.parameters()) < 200_000
