"""Boxes in rooms: tight around what is seen and well apart; a range scan measures rays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks.errors import BadInput
from attacks.scenario import parse
from harness.engine.loading import load_task
from harness.tasks import Task
from harness.tasks.datasets.rooms import boxes, plan, render, sensors
from harness.tasks.problems.detections import iou


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("rooms-boxes")


@pytest.fixture(scope="module")
def furnished() -> tuple[plan.Rooms, render.Views]:
    rng = np.random.RandomState(7)
    drawn = boxes._furnished(plan.planned(60, rng), rng)
    return drawn, render.rendered(drawn)


def test_solids_are_distinguished(furnished: tuple[plan.Rooms, render.Views]) -> None:
    drawn, view = furnished
    seen = np.isin(view.mask, sensors.SOLIDS)
    assert np.array_equal(view.solid >= 0, seen)
    assert np.array_equal(render.solids_seen(drawn), view.solid)
    there = np.concatenate([drawn.boxes.there, drawn.balls.there], 1)
    labels = np.concatenate([drawn.boxes.label, np.full(drawn.balls.there.shape, plan.BALL)], 1)
    for number in range(plan.SOLIDS):
        own = view.solid == number
        assert not own[~there[:, number]].any()
        assert np.array_equal(view.mask[own], np.broadcast_to(labels[:, number, None, None], own.shape)[own])


def test_rooms_hold_few_solids_that_are_seen(furnished: tuple[plan.Rooms, render.Views]) -> None:
    drawn, view = furnished
    there = np.concatenate([drawn.boxes.there, drawn.balls.there], 1)
    pixels = boxes._pixels(view.solid)
    assert there.sum(1).max() == boxes.OBJECTS
    assert pixels[there].min() >= boxes.SEEN and not pixels[~there].any()


def test_boxes_are_tight(furnished: tuple[plan.Rooms, render.Views]) -> None:
    _, view = furnished
    corners = (boxes.cornered(view.solid) * render.SIDE).round().long()
    for room, number in np.argwhere(boxes._pixels(view.solid) > 0)[:50]:
        left, top, right, bottom = corners[room, number].tolist()
        own = view.solid[room] == number
        inside = own[top:bottom, left:right]
        assert inside.sum() == own.sum()
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_targets_are_the_boxes_of_the_solids(task: Task) -> None:
    targets = task.splits["test"].targets
    counts = (targets[..., 0] >= 0).sum(1)
    assert 2 < counts.double().mean() < 3
    assert not targets[targets[..., 0] < 0][:, 1:].any()
    near = iou(targets[..., 1:], targets[..., 1:]) * (1 - torch.eye(boxes.OBJECTS))
    same = targets[:, :, None, 0] == targets[:, None, :, 0]
    assert ((near > task.problem.overlap) & same).any((1, 2)).double().mean() < 0.01  # type: ignore[attr-defined]


def test_no_room_is_on_two_sides(task: Task) -> None:
    seen = [x.numpy().tobytes() for split in task.splits.values() for x in split.inputs["depth"]]
    assert len(set(seen)) == len(seen)


def test_a_range_is_the_length_of_its_ray(furnished: tuple[plan.Rooms, render.Views]) -> None:
    _, view = furnished
    ranges = sensors.scanned(view, np.random.RandomState(0))
    assert ranges.shape == (60, len(sensors.RINGS), render.SIDE)
    steps = (np.arange(render.SIDE) + 0.5) / (render.SIDE / 2) * render.SPREAD - render.SPREAD
    length = np.sqrt(1 + steps**2 + steps[list(sensors.RINGS), None] ** 2)
    returned = ranges > 0
    error = (ranges - view.depth[:, 0, list(sensors.RINGS)] * length)[returned]
    assert abs(error.std() - sensors.RANGE_NOISE) < 0.002 and abs(error.mean()) < 0.001
    assert abs(1 - returned.mean() - sensors.UNRETURNED) < 0.01
    assert ranges.max() < sensors.REACH


def test_a_shift_of_a_sensor_is_refused(task: Task) -> None:
    with pytest.raises(BadInput, match="range@shift:3 moves the input but not the target of task 'rooms-boxes'"):
        task.check_scenario(parse("range@shift:3"))
