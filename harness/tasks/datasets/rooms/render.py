"""Rooms as pictures: one cast of rays gives colour, depth, normals, shade, texture edges and the
mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.datasets.rooms.plan import BALL, CEILING, FLOOR, WALL, Balls, Boxes, Decals, Materials, Rooms
from harness.tasks.datasets.rooms.rays import NEVER, dot, leave_room, meet_ball, meet_box, reach_ball, reach_box

Array = NDArray[Any]

SIDE = 48  # pixels
SPREAD = np.float32(0.8)  # tangent of half the angle of view
AT_ONCE = 16  # rooms rendered together: what a processor's cache holds
AMBIENT = np.float32(0.35)  # light that comes from everywhere, as a share of all
REACH = np.float32(3.0)  # metres at which the lamp has lost half its light
NONE = -1
CLEAR = np.float32(1e-3)  # what is nearer than this share of the way to the lamp is the surface itself
FACE_LABELS = np.array([WALL, WALL, FLOOR, CEILING, WALL, WALL])
LUMA = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]
PAINTED_LIGHT = np.array([-0.48, 0.64, 0.6], np.float32)  # where the light of a painted ball seems to come from


@dataclass(frozen=True, eq=False)
class Views:
    """What S rooms look like, without any noise; all but `mask` and `solid` float32.

    Attributes:
        rgb: (S, 3, 48, 48) in [0, 1]: albedo times shade.
        depth: (S, 1, 48, 48), metres along the camera's axis.
        normal: (S, 3, 48, 48), unit vectors: right, up and towards the viewer.
        shade: (S, 1, 48, 48) in [0, 1], light that falls on what is seen.
        texture: (S, 1, 48, 48) from 0, the gradient of the grey albedo (Sobel), without shadows.
        facing: (S, 1, 48, 48) in [0, 1], the cosine between ray and normal.
        mask: (S, 48, 48), classes.
        solid: (S, 48, 48), which solid of the room is seen, boxes first; `NONE` where it is none.
    """

    rgb: Array
    depth: Array
    normal: Array
    shade: Array
    texture: Array
    facing: Array
    mask: Array
    solid: Array


@dataclass(frozen=True, eq=False)
class Hits:
    """What rays met first: `depth`, `label`, `material`, `solid` (S, P), `normal` (3, S, P) and
    `paint`, a factor (S, P) of the albedo.
    """

    depth: Array
    normal: Array
    label: Array
    material: Array
    paint: Array
    solid: Array


def rendered(rooms: Rooms) -> Views:
    """The views of all rooms, each the same whichever others there are."""
    parts = [_views(rooms.take(slice(start, start + AT_ONCE))) for start in range(0, len(rooms), AT_ONCE)]
    return Views(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Views)))


def slopes() -> Array:
    """The tangent of the angle between the camera's axis and the ray of each column of pixels, or
    of each row, (48,).
    """
    steps: Array = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) * (2 * SPREAD / SIDE) - SPREAD
    return steps


def solids_seen(rooms: Rooms) -> Array:
    """`Views.solid` alone, without light and colour."""
    parts = [rooms.take(slice(start, start + AT_ONCE)) for start in range(0, len(rooms), AT_ONCE)]
    return np.concatenate([_picture(_met(part)[2].solid[None])[:, 0] for part in parts])


def _met(rooms: Rooms) -> tuple[Array, Array, Hits]:
    """The eye, the rays, and what they meet."""
    eye, ray = vectors(rooms.eye), _rays(rooms)
    return eye, ray, _solids(rooms, eye, ray, _walls(rooms, eye, ray))


def _views(rooms: Rooms) -> Views:
    eye, ray, hits = _met(rooms)
    point = eye + hits.depth * ray
    shade = _shade(rooms, point, hits.normal)
    albedo = _textured(rooms.materials, hits.material, point) * hits.paint
    facing = -dot(hits.normal, ray) / np.sqrt(dot(ray, ray))
    return Views(
        _picture(albedo * shade),
        _picture(hits.depth[None]),
        _picture(_seen(rooms, hits.normal)),
        _picture(shade[None]),
        _edges(_picture(dot(LUMA, albedo)[None])),
        _picture(facing[None]),
        _picture(hits.label[None])[:, 0],
        _picture(hits.solid[None])[:, 0],
    )


def vectors(rows: Array) -> Array:
    """Components first, to go with many rays: (S, 3) to (3, S, 1)."""
    return np.ascontiguousarray(rows.T)[:, :, None]


def _picture(values: Array) -> Array:
    """(C, S, P) to (S, C, 48, 48)."""
    channels, rooms, _ = values.shape
    return np.ascontiguousarray(values.transpose(1, 0, 2)).reshape(rooms, channels, SIDE, SIDE)


def _rays(rooms: Rooms) -> Array:
    """Through the middle of every pixel (3, S, P), as long as one metre of depth."""
    steps = slopes()
    across, down = np.tile(steps, SIDE), np.repeat(steps, SIDE)
    right, up, forward = (vectors(rooms.axes[:, axis]) for axis in range(3))
    ray: Array = forward + across * right - down * up
    return ray


def _seen(rooms: Rooms, normal: Array) -> Array:
    right, up, forward = (vectors(rooms.axes[:, axis]) for axis in range(3))
    return np.stack([dot(right, normal), dot(up, normal), -dot(forward, normal)])


def _walls(rooms: Rooms, eye: Array, ray: Array) -> Hits:
    depth, normal, face = leave_room(eye, ray, vectors(rooms.size))
    label = FACE_LABELS[face]
    hits = Hits(depth, normal, label, label, np.ones_like(depth), np.full_like(label, NONE))
    point = eye + depth * ray
    along = np.where(face // 2 == 0, point[2], point[0])
    for number in range(rooms.decals.there.shape[1]):
        hits = _papered(hits, rooms.decals, number, face, (along, point[1]))
    return hits


def _papered(hits: Hits, decals: Decals, number: int, face: Array, place: tuple[Array, Array]) -> Hits:
    """The walls with one more decal on them."""
    u, v = (
        (each - decals.centre[:, number, axis, None]) / decals.half[:, number, axis, None]
        for axis, each in enumerate(place)
    )
    disc, relief = decals.disc[:, number, None], decals.relief[:, number, None]
    square = u * u + v * v
    inside = np.where(disc, square < 1, np.maximum(np.abs(u), np.abs(v)) < 1)
    inside &= decals.there[:, number, None] & (face == decals.face[:, number, None])
    ball = AMBIENT + (1 - AMBIENT) * np.maximum(
        PAINTED_LIGHT[0] * u + PAINTED_LIGHT[1] * v + PAINTED_LIGHT[2] * np.sqrt(np.maximum(1 - square, 0)), 0
    )
    paint = np.where(relief, np.where(disc, ball, np.where(u < 0, np.float32(0.7), np.float32(1))), np.float32(1))
    return replace(
        hits,
        label=np.where(inside, decals.label[:, number, None], hits.label),
        material=np.where(inside, decals.material[:, number, None], hits.material),
        paint=np.where(inside, paint, hits.paint),
    )


def _solids(rooms: Rooms, eye: Array, ray: Array, hits: Hits) -> Hits:
    boxes, balls = rooms.boxes, rooms.balls
    for number, (there, *box) in enumerate(_each_box(boxes)):
        depth, normal = meet_box(eye, ray, *box)
        looks = boxes.label[:, number], boxes.material[:, number]
        hits = _nearer(hits, (_of(there, depth), normal), looks, number)
    for number, (there, *ball) in enumerate(_each_ball(balls)):
        depth, normal = meet_ball(eye, ray, *ball)
        looks = np.full(len(rooms), BALL), balls.material[:, number]
        hits = _nearer(hits, (_of(there, depth), normal), looks, boxes.there.shape[1] + number)
    return hits


def _each_box(boxes: Boxes) -> Iterator[tuple[Array, Array, Array, Array]]:
    """The boxes of all rooms, one place at a time: whether there is one, its centre, half sides and
    heading, as rays take them.
    """
    for number in range(boxes.there.shape[1]):
        centre, half, heading = (vectors(each[:, number]) for each in (boxes.centre, boxes.half, boxes.heading))
        yield boxes.there[:, number, None], centre, half, heading


def _each_ball(balls: Balls) -> Iterator[tuple[Array, Array, Array]]:
    for number in range(balls.there.shape[1]):
        yield balls.there[:, number, None], vectors(balls.centre[:, number]), balls.radius[:, number, None]


def _of(there: Array, time: Array) -> Array:
    return np.where(there, time, NEVER)


def _nearer(hits: Hits, solid: tuple[Array, Array], looks: tuple[Array, Array], number: int) -> Hits:
    """What is met first, of what was met so far and one solid more: its depth and normal, its label
    and material, and its number.
    """
    (depth, normal), (label, material) = solid, looks
    first = depth < hits.depth
    return Hits(
        np.where(first, depth, hits.depth),
        np.where(first, normal, hits.normal),
        np.where(first, label[:, None], hits.label),
        np.where(first, material[:, None], hits.material),
        np.where(first, np.float32(1), hits.paint),
        np.where(first, number, hits.solid),
    )


def _shade(rooms: Rooms, point: Array, normal: Array) -> Array:
    """The light (S, P) on points (3, S, P): some from everywhere, and the lamp's where no solid is
    in its way.
    """
    way = vectors(rooms.light) - point
    square = dot(way, way)
    lamp = np.maximum(dot(normal, way), 0) / np.sqrt(square) / (1 + square / (REACH * REACH))
    cast = [_of(there, reach_box(point, way, *box)) for there, *box in _each_box(rooms.boxes)]
    cast += [_of(there, reach_ball(point, way, *ball)) for there, *ball in _each_ball(rooms.balls)]
    dark = np.any([(time > CLEAR) & (time < 1) for time in cast], axis=0)
    shade: Array = AMBIENT + (1 - AMBIENT) * np.where(dark, np.float32(0), lamp)
    return shade


def _textured(materials: Materials, chosen: Array, point: Array) -> Array:
    """The colours (3, S, P) of materials (S, P) at points (3, S, P): solid textures, as if carved
    from a block that fills the room, so that things of one material go on in each other.
    """
    room = np.arange(len(chosen))[:, None]
    waves, phases = materials.waves[room, chosen], materials.phases[room, chosen]
    cells = [np.floor(dot(waves[:, :, way].transpose(2, 0, 1), point) + phases[:, :, way]) for way in range(2)]
    odd = (cells[0] + cells[1]) % 2 != 0
    first, second = (materials.colours[:, :, which][room, chosen].transpose(2, 0, 1) for which in range(2))
    return np.where(odd, second, first)


def _edges(grey: Array) -> Array:
    """The gradient's size (S, 1, 48, 48) by Sobel's filters, per pixel."""
    x = np.pad(grey, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    down = x[:, :, 2:] - x[:, :, :-2]
    right = x[:, :, :, 2:] - x[:, :, :, :-2]
    down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    right = right[:, :, :-2] + 2 * right[:, :, 1:-1] + right[:, :, 2:]
    size: Array = np.sqrt(down * down + right * right) / np.float32(8)
    return size
