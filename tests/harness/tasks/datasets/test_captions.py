"""Captions count what is in the half that is asked for."""

from __future__ import annotations

import pytest
import torch

from harness.engine.loading import load_task
from harness.tasks import Task
from harness.tasks.datasets.captions import EMPTY, WORDS, encoded, written
from harness.tasks.datasets.scenes.vocabulary import PLACES, SHAPES
from harness.tasks.problems.free_answers import ANSWERS


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("captions")


def test_a_caption_counts_the_shapes_of_its_half(task: Task) -> None:
    """By the annotations, which the images are drawn from."""
    batch, seen = task.splits["test"].take(range(64)), 0
    for row, place in enumerate(batch.groups):
        axis, behind = divmod(PLACES.index(place), 2)
        found = batch.annotations[row]
        found = found[found[:, 0] >= 0]
        middles = (found[:, axis] + found[:, axis + 2]) / 2
        inside = found[(middles > 0.5) == bool(behind)]
        (caption,) = task.problem.right[int(batch.targets[row])]
        counted = dict.fromkeys(SHAPES, 0)
        for part in caption.split(" and ") if caption != EMPTY else ():
            count, shape = part.split()
            counted[shape if int(count) == 1 else shape.removesuffix("es" if shape == "crosses" else "s")] = int(count)
        if bool(((middles - 0.5).abs() > 0.02).all()):
            seen += 1
            expected = {name: int((inside[:, -1] == number).sum()) for number, name in enumerate(SHAPES)}
            assert counted == expected, (caption, place)
    assert seen > 20


def test_captions_are_their_tokens(task: Task) -> None:
    batch = task.splits["val"]
    for row in range(0, len(batch), 17):
        tokens = [token for token in batch.inputs[ANSWERS][row, 0].tolist() if token >= 0]
        assert (written(tokens),) == task.problem.right[int(batch.targets[row])]
        assert tokens == [*encoded(written(tokens)), 0] and len(tokens) <= task.problem.length
    assert len(set(WORDS)) == len(WORDS)


def test_the_request_names_the_half_and_nothing_else_depends_on_it(task: Task) -> None:
    batch = task.splits["test"]
    asked = batch.inputs["question"].argmax(-1)
    for place in PLACES:
        rows = [row for row, group in enumerate(batch.groups) if group == place]
        assert len(rows) == len(batch) // len(PLACES)
        assert len({tuple(asked[row].tolist()) for row in rows}) == (2 if place in ("upper", "lower") else 1)
    assert torch.equal(task.splits["test"].inputs["image"], load_task("captions").splits["test"].inputs["image"])
