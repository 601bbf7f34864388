"""Rooms: what the ray caster sees is what geometry says, and the task is the same at every load."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from harness.tasks.datasets.rooms import plan, rays, render, sensors

SQUARE = np.float32([[[1, 0, 0], [0, 1, 0], [0, 0, 1]]])  # axes of a camera that looks along z
COUNT = 40


def rooms(**changed: np.ndarray) -> plan.Rooms:
    """One empty room of 4 × 3 × 5 metres, seen from its near wall, with changes."""
    empty = emptied(plan.planned(1, np.random.RandomState(0)), "boxes", "balls", "decals")
    frame = {"size": [[4, 3, 5]], "eye": [[2, 1.5, 0]], "light": [[2, 2.5, 1]], "axes": SQUARE}
    fixed = {name: np.float32(value) for name, value in frame.items()}
    return replace(empty, **{**fixed, **changed})


def emptied(drawn: plan.Rooms, *names: str) -> plan.Rooms:
    """The rooms without their boxes, balls or decals."""
    kinds = {name: getattr(drawn, name) for name in names}
    return replace(drawn, **{name: replace(each, there=np.zeros_like(each.there)) for name, each in kinds.items()})


def middle(view: np.ndarray) -> np.ndarray:
    """The four pixels around the middle of a picture (1, C, 48, 48) or mask (1, 48, 48)."""
    half = render.SIDE // 2
    return view[..., half - 1 : half + 1, half - 1 : half + 1]


def alone(solid: plan.Boxes | plan.Balls, **changed: object) -> plan.Boxes | plan.Balls:
    """The first of the solids only, with changes."""
    there = np.zeros_like(solid.there)
    there[:, 0] = True
    values = {name: np.broadcast_to(np.float32(value), getattr(solid, name).shape) for name, value in changed.items()}
    return replace(solid, there=there, **values)


@pytest.fixture(scope="module")
def many() -> tuple[plan.Rooms, render.Views]:
    drawn = plan.planned(COUNT, np.random.RandomState(3))
    return drawn, render.rendered(drawn)


def test_planes_are_as_far_as_they_stand() -> None:
    view = render.rendered(rooms())
    assert np.allclose(middle(view.depth), 5)
    steps = np.abs((np.arange(render.SIDE) + 0.5) / (render.SIDE / 2) - 1) * render.SPREAD
    floor = view.mask[0] == plan.FLOOR
    rows = np.nonzero(floor)[0]
    assert np.allclose(view.depth[0, 0][floor], 1.5 / steps[rows], rtol=1e-5)
    sides = view.depth[0, 0][render.SIDE // 2, [0, -1]]
    assert np.allclose(sides, 2 / steps[0], rtol=1e-5)


def test_boxes_and_balls_are_as_far_as_they_stand() -> None:
    here = rooms()
    box = alone(here.boxes, centre=[2, 1.5, 3], half=[0.5, 0.5, 0.7], heading=[1, 0])
    assert np.allclose(middle(render.rendered(replace(here, boxes=box)).depth), 2.3, rtol=1e-6)
    ball = alone(here.balls, centre=[2, 1.5, 3], radius=0.8)
    view = render.rendered(replace(here, balls=ball))
    ray = np.array([render.SPREAD / render.SIDE, render.SPREAD / render.SIDE, 1])
    near = 3 - np.sqrt(9 - (9 - 0.8**2) * (ray @ ray))  # the smaller root of |t·ray - (0, 0, 3)| = 0.8, times |ray|²
    assert np.allclose(middle(view.depth), near / (ray @ ray), rtol=1e-5)
    assert (middle(view.mask) == plan.BALL).all()


def test_a_turned_box_shows_its_corner() -> None:
    here, cosine = rooms(), np.sqrt(0.5)
    box = alone(here.boxes, centre=[2, 1.5, 3], half=[0.5, 0.5, 0.5], heading=[cosine, cosine])
    view = render.rendered(replace(here, boxes=box))
    aside = render.SPREAD / render.SIDE
    assert np.allclose(middle(view.depth), (3 - 0.5 * np.sqrt(2)) / (1 - aside), rtol=1e-5)
    assert np.allclose(np.abs(middle(view.normal)[0, 0]), cosine, rtol=1e-5)


def test_rays_that_miss_never_meet() -> None:
    ray, eye = np.float32([0, 0, 1]).reshape(3, 1, 1), np.zeros((3, 1, 1), np.float32)
    for centre in ([0, 2, 3], [0, 0, -3]):  # beside the ray, and behind the eye
        place = np.float32(centre).reshape(3, 1, 1)
        ones, heading = np.ones((3, 1, 1), np.float32), np.float32([1, 0]).reshape(2, 1, 1)
        assert np.isinf(rays.meet_ball(eye, ray, place, np.float32([[1]]))[0]).all()
        assert np.isinf(rays.meet_box(eye, ray, place, ones, heading)[0]).all()


def test_normals_are_unit_and_face_the_camera(many: tuple[plan.Rooms, render.Views]) -> None:
    _, view = many
    assert np.allclose((view.normal**2).sum(1), 1, atol=1e-4)
    assert (view.facing >= 0).all()
    steps = (np.arange(render.SIDE) + 0.5) * (2 * render.SPREAD / render.SIDE) - render.SPREAD
    towards = -view.normal[:, 0] * steps + view.normal[:, 1] * steps[:, None] + view.normal[:, 2]
    length = np.sqrt(1 + steps**2 + steps[:, None] ** 2)
    assert np.allclose(towards / length, view.facing[:, 0], atol=1e-4)


def test_the_nearest_thing_is_seen(many: tuple[plan.Rooms, render.Views]) -> None:
    """Taking the solids away moves everything that was a solid further off, and nothing else."""
    drawn, view = many
    bare = render.rendered(emptied(drawn, "boxes", "balls"))
    solid = np.isin(view.mask, sensors.SOLIDS)
    assert (view.depth[:, 0][solid] < bare.depth[:, 0][solid]).all()
    assert np.array_equal(view.depth[:, 0][~solid], bare.depth[:, 0][~solid])
    assert np.array_equal(view.mask[~solid], bare.mask[~solid])


def test_posters_and_doors_have_no_depth(many: tuple[plan.Rooms, render.Views]) -> None:
    drawn, view = many
    bare = render.rendered(emptied(drawn, "decals"))
    assert np.array_equal(view.depth, bare.depth)
    assert np.array_equal(view.normal, bare.normal)
    flat = np.isin(view.mask, (plan.POSTER, plan.DOOR))
    assert flat.any()
    assert (bare.mask[flat] == plan.WALL).all()


def test_camouflaged_solids_wear_the_room(many: tuple[plan.Rooms, render.Views]) -> None:
    drawn, _ = many
    hidden = drawn.camouflaged
    for solids in (drawn.boxes, drawn.balls):
        assert (solids.material[hidden] < plan.SURFACES).all()
        assert (solids.material[~hidden] >= plan.SURFACES).all()
    assert (drawn.boxes.material[hidden, 0] == plan.WALL).all()


def test_colour_is_albedo_times_shade(many: tuple[plan.Rooms, render.Views]) -> None:
    _, view = many
    assert view.shade.min() >= render.AMBIENT
    assert view.shade.max() <= 1
    dark = (view.shade[:, 0] == render.AMBIENT).mean()
    assert 0 < dark < 0.5  # shadows fall, and not over everything
    assert view.rgb.min() >= 0
    assert view.rgb.max() <= 1
    assert (view.rgb <= view.shade + 1e-6).all()


def test_a_view_does_not_depend_on_the_others(many: tuple[plan.Rooms, render.Views]) -> None:
    drawn, view = many
    for rows in (slice(0, 1), slice(15, 18), slice(33, COUNT)):
        part = render.rendered(drawn.take(rows))
        for each in fields(render.Views):
            assert np.array_equal(getattr(part, each.name), getattr(view, each.name)[rows]), each.name


def test_sensors_have_noise_of_the_stated_size_and_holes(many: tuple[plan.Rooms, render.Views]) -> None:
    _, view = many
    rng = np.random.RandomState(5)
    bells = sensors.bells((200_000,), rng)
    assert abs(bells.mean()) < 0.01
    assert abs(bells.std() - 1) < 0.01
    depth = sensors.measured(view, rng)
    holes = depth == 0
    assert 0.05 < holes.mean() < 0.2
    constant, square = sensors.DEPTH_NOISE
    assert abs(((depth - view.depth) / (constant + square * view.depth**2))[~holes].std() - 1) < 0.02
    picture = sensors.photographed(view, rng)
    assert np.array_equal(picture, np.rint(picture))
    assert picture.min() >= 0
    assert picture.max() <= 255


def test_only_the_edges_of_solids_are_ignored(many: tuple[plan.Rooms, render.Views]) -> None:
    _, view = many
    labels = sensors.labelled(view)
    ignored = labels == sensors.IGNORED
    assert 0.01 < ignored.mean() < 0.06
    assert np.array_equal(labels[~ignored], view.mask[~ignored])
    assert not ignored[~np.isin(view.mask, sensors.SOLIDS).any((1, 2))].any()
