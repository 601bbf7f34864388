"""Point clouds of rooms, and the Perceiver that reads them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from attacks.errors import BadInput
from harness.engine.loading import build_model
from harness.tasks import Task
from harness.tasks.datasets.rooms.points import POINTS, placed, rooms_points
from tests.harness.models.dense.small import small


@cache
def task() -> Task:
    return rooms_points()


def test_points_lie_where_their_pixels_look() -> None:
    """A wall at 2 m: every point is 2 m away, the corners at the tangent of the angle of view."""
    cloud = placed(np.full((1, 1, 48, 48), 2, np.float32)).reshape(48, 48, 3)
    assert (cloud[..., 2] == 2).all()
    corner = 2 * 0.8 * (1 - 1 / 48)
    np.testing.assert_allclose(cloud[0, 0, :2], [-corner, -corner], rtol=1e-6)
    np.testing.assert_allclose(cloud[0, -1, :2], [corner, -corner], rtol=1e-6)


def test_a_cloud_holds_no_hole() -> None:
    for batch in task().splits.values():
        points = batch.inputs["points"]
        assert points.shape[1:] == (POINTS, 3) and bool((points[..., 2] > 0).all())


def test_the_order_of_points_means_nothing() -> None:
    torch.manual_seed(0)
    model = build_model("perceiver-points", task()).eval()
    inputs = task().splits["test"].take([0, 1, 2]).inputs
    turned = {"points": inputs["points"][:, torch.randperm(POINTS)]}
    torch.testing.assert_close(model(turned), model(inputs), rtol=0, atol=1e-5)
    assert not torch.allclose(model(inputs)[0], model(inputs)[1], atol=1e-4)


def test_what_is_no_cloud_is_refused() -> None:
    with pytest.raises(BadInput, match=r"modality 'rgb' of task 'small' is image of shape .* choose model 'perceiver'"):
        build_model("perceiver-points", small((24, 24)))
