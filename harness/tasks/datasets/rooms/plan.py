"""The places of things in rooms, drawn at random, in metres and without pixels.

A room is the box from (0, 0, 0) to its size in metres: x runs right, y up, z away from the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CLASSES = ("floor", "ceiling", "wall", "pillar", "box", "ball", "poster", "door")
FLOOR, CEILING, WALL, PILLAR, BOX, BALL, POSTER, DOOR = range(len(CLASSES))
SURFACES = 3  # the first materials of a room are those of its floor, ceiling and walls
LEFT, RIGHT, BACK = 0, 1, 5  # faces of the room that pictures hang on: twice the axis, and 1 at its far end
BOXES, BALLS, POSTERS = 3, 2, 2  # at most; beside them a pillar and a door
SOLIDS, DECALS = 1 + BOXES + BALLS, 1 + POSTERS
MATERIALS = SURFACES + SOLIDS + DECALS  # of a room: its surfaces', its solids' and its decals'
DOOR_COLOUR = np.array([0.45, 0.3, 0.2], np.float32)
GROUPS = ("coloured", "camouflaged")


@dataclass(frozen=True, eq=False)
class Rows:
    """Arrays that all have one row per room."""

    def take(self, rows: slice) -> Self:
        """The chosen rooms."""
        return type(self)(**{each.name: _taken(getattr(self, each.name), rows) for each in fields(self)})


def _taken(value: Any, rows: slice) -> Any:
    return value.take(rows) if isinstance(value, Rows) else value[rows]


@dataclass(frozen=True, eq=False)
class Boxes(Rows):
    """n boxes in each of S rooms, turned about the vertical.

    Attributes:
        there: bool (S, n); the others are not drawn.
        centre, half: (S, n, 3) in metres.
        heading: (S, n, 2), cosine and sine of the turn.
        label, material: (S, n).
    """

    there: Array
    centre: Array
    half: Array
    heading: Array
    label: Array
    material: Array


@dataclass(frozen=True, eq=False)
class Balls(Rows):
    """n balls in each of S rooms: `there` bool (S, n), `centre` (S, n, 3) and `radius` (S, n) in
    metres, `material` (S, n).
    """

    there: Array
    centre: Array
    radius: Array
    material: Array


@dataclass(frozen=True, eq=False)
class Decals(Rows):
    """n pictures on the walls of S rooms, without any thickness.

    Attributes:
        there, disc, relief: bool (S, n): drawn at all; an ellipse, not a rectangle; painted with
            the light and shadow of a ball (a disc) or of two faces of a box (a rectangle).
        face: (S, n), which wall.
        centre, half: (S, n, 2) in metres, along the wall and up.
        label, material: (S, n).
    """

    there: Array
    disc: Array
    relief: Array
    face: Array
    centre: Array
    half: Array
    label: Array
    material: Array


@dataclass(frozen=True, eq=False)
class Materials(Rows):
    """n solid textures in each of S rooms: two colours that alternate in space.

    Attributes:
        colours: (S, n, 2, 3) in [0, 1].
        waves: (S, n, 2, 3), cycles per metre along two directions: stripes have one, plain ones
            none.
        phases: (S, n, 2).
    """

    colours: Array
    waves: Array
    phases: Array


@dataclass(frozen=True, eq=False)
class Rooms(Rows):
    """S rooms and what is in them.

    Attributes:
        size, eye, light: (S, 3) in metres: the far corner, the camera, the lamp.
        axes: (S, 3, 3), unit vectors: the camera's right, up and forward.
        camouflaged: bool (S,): all solids look like the walls or the floor.
    """

    size: Array
    eye: Array
    light: Array
    axes: Array
    camouflaged: Array
    boxes: Boxes
    balls: Balls
    decals: Decals
    materials: Materials

    def __len__(self) -> int:
        return len(self.size)


def planned(count: int, rng: np.random.RandomState) -> Rooms:
    """So many rooms, half of them camouflaged."""
    size = _uniform(rng, (3.0, 2.4, 3.2), (4.4, 3.0, 4.8), (count, 3))
    camouflaged = np.arange(count) % 2 == 1
    worn = _worn(camouflaged, rng)
    return Rooms(
        size,
        size * _uniform(rng, (0.3, 0.5, 0.05), (0.7, 0.62, 0.08), size.shape),
        size * _uniform(rng, (0.2, 0.8, 0.05), (0.8, 0.95, 0.2), size.shape),
        _axes(rng.uniform(-0.26, 0.26, count), rng.uniform(-0.15, 0.02, count)),
        camouflaged,
        _boxes(size, worn[:, :-BALLS], rng),
        _balls(size, worn[:, -BALLS:], rng),
        _decals(size, rng),
        _materials(count, rng),
    )


def turned(tangent: Array) -> tuple[Array, Array]:
    """Cosine and sine of an angle by the tangent of its half."""
    square = tangent * tangent
    return (1 - square) / (1 + square), 2 * tangent / (1 + square)


def _uniform(rng: np.random.RandomState, low: Any, high: Any, size: tuple[int, ...]) -> Array:
    return rng.uniform(low, high, size).astype(np.float32)


def _axes(yaw: Array, pitch: Array) -> Array:
    """The camera's axes (S, 3, 3) by the tangents of half its angles."""
    (cos, sin), (level, rise) = turned(yaw), turned(pitch)
    right = np.stack([cos, np.zeros_like(cos), -sin], 1)
    up = np.stack([-sin * rise, level, -cos * rise], 1)
    forward = np.stack([sin * level, rise, cos * level], 1)
    return np.stack([right, up, forward], 1).astype(np.float32)


def _worn(camouflaged: Array, rng: np.random.RandomState) -> Array:
    """The material (S, n) of every solid: its own, or, camouflaged, that of the floor or of the
    walls; of the pillar, that of the walls.
    """
    own = np.tile(np.arange(SURFACES, SURFACES + SOLIDS), (len(camouflaged), 1))
    shared = np.where(rng.rand(*own.shape) < 0.3, FLOOR, WALL)
    shared[:, 0] = WALL
    return np.where(camouflaged[:, None], shared, own)


def _boxes(size: Array, material: Array, rng: np.random.RandomState) -> Boxes:
    """A pillar from floor to ceiling, and boxes that stand on the floor or hang on a wall."""
    pillars, standing, hanging = _pillar(size, rng), _standing(size, BOXES, rng), _hanging(size, rng)
    hung = rng.rand(len(size), BOXES, 1) < 0.45
    loose = (np.where(hung, one, other) for one, other in zip(hanging, standing, strict=True))
    centre, half, heading = (np.concatenate(pair, 1) for pair in zip(pillars, loose, strict=True))
    label = np.full(material.shape, BOX)
    label[:, 0] = PILLAR
    return Boxes(_some(material.shape, rng), centre, half, heading, label, material)


def _some(shape: tuple[int, ...], rng: np.random.RandomState) -> Array:
    """Which of all that could be there are."""
    there: Array = rng.rand(*shape) < 0.75
    return there


def _standing(size: Array, count: int, rng: np.random.RandomState) -> tuple[Array, Array, Array]:
    shape = (len(size), count, 3)
    half = _uniform(rng, (0.2, 0.2, 0.2), (0.5, 0.6, 0.5), shape)
    centre = size[:, None] * _uniform(rng, (0.1, 0, 0.4), (0.9, 0, 0.9), shape)
    centre[:, :, 1] = half[:, :, 1]
    return centre, half, np.stack(turned(_uniform(rng, -0.4, 0.4, shape[:2])), 2)


def _pillar(size: Array, rng: np.random.RandomState) -> tuple[Array, Array, Array]:
    centre, half, heading = _standing(size, 1, rng)
    half[:, :, 1] = centre[:, :, 1] = size[:, None, 1] / 2
    half[:, :, ::2] *= 0.6
    return centre, half, heading


def _hanging(size: Array, rng: np.random.RandomState) -> tuple[Array, Array, Array]:
    """Flat boxes against a wall, as cupboards are."""
    shape = (len(size), BOXES)
    half = _uniform(rng, (0.3, 0.3, 0.08), (0.65, 0.6, 0.18), (*shape, 3))
    face, along, up = _on_walls(size, shape, rng)
    side = face != BACK
    deep, wide, high = half[:, :, 2], size[:, :1], size[:, 2:]
    x = np.where(side, np.where(face == LEFT, deep, wide - deep), along)
    centre = np.stack([x, up, np.where(side, along, high - deep)], 2)
    half = np.where(side[:, :, None], half[:, :, ::-1], half)
    return centre, half, np.tile(np.array([1, 0], np.float32), (*shape, 1))


def _on_walls(size: Array, shape: tuple[int, int], rng: np.random.RandomState) -> tuple[Array, Array, Array]:
    """Places (S, n) on walls: the face, and metres along it and up."""
    face = rng.choice([LEFT, RIGHT, BACK], shape, p=[0.25, 0.25, 0.5])
    share = np.where(face == BACK, _uniform(rng, 0.15, 0.85, shape), _uniform(rng, 0.45, 0.85, shape))
    along = np.where(face == BACK, size[:, :1], size[:, 2:]) * share
    return face, along.astype(np.float32), _uniform(rng, 0.9, 1.9, shape)


def _balls(size: Array, material: Array, rng: np.random.RandomState) -> Balls:
    """Balls that lie on the floor or hang in the air."""
    shape = material.shape
    radius = _uniform(rng, 0.2, 0.55, shape)
    centre = size[:, None] * _uniform(rng, (0.12, 0.3, 0.4), (0.88, 0.75, 0.88), (*shape, 3))
    centre[:, :, 1] = np.where(rng.rand(*shape) < 0.5, radius, centre[:, :, 1])
    return Balls(_some(shape, rng), centre, radius, material)


def _decals(size: Array, rng: np.random.RandomState) -> Decals:
    """A door, and posters over it, each of a material of its own."""
    shape = (len(size), DECALS)
    face, along, up = _on_walls(size, shape, rng)
    half = _uniform(rng, (0.35, 0.35), (0.8, 0.7), (*shape, 2))
    label, material = np.full(shape, POSTER), np.tile(np.arange(MATERIALS - DECALS, MATERIALS), (len(size), 1))
    disc, relief = rng.rand(*shape) < 0.5, rng.rand(*shape) < 0.7
    label[:, 0], disc[:, 0], relief[:, 0] = DOOR, False, False
    half[:, 0] = _uniform(rng, (0.4, 0.9), (0.6, 1.05), (shape[0], 2))
    up[:, 0] = half[:, 0, 1]
    return Decals(_some(shape, rng), disc, relief, face, np.stack([along, up], 2), half, label, material)


def _materials(count: int, rng: np.random.RandomState) -> Materials:
    """Plain, striped or chequered; in half of the rooms floor and ceiling are coloured much like
    the walls.
    """
    shape = (count, MATERIALS)
    first = _uniform(rng, 0.25, 0.9, (*shape, 3))
    alike = (np.arange(MATERIALS) < SURFACES) & (rng.rand(count, 1) < 0.5)
    near = first[:, WALL, None] + _uniform(rng, -0.06, 0.06, first.shape)
    first = np.where(alike[:, :, None], near, first)
    second = first * _uniform(rng, 0.6, 0.95, (*shape, 1))
    waves = _uniform(rng, -2.5, 2.5, (*shape, 2, 3))
    waves *= (rng.rand(*shape, 1, 1) < 0.5) & (rng.rand(*shape, 2, 1) < 0.7)
    _paint(first, second, waves, rng)
    return Materials(np.stack([first, second], 2), waves, _uniform(rng, 0, 1, (*shape, 2)))


def _paint(first: Array, second: Array, waves: Array, rng: np.random.RandomState) -> None:
    """Make doors brown and posters lively, in place: colour is all that gives them away."""
    door, posters = MATERIALS - DECALS, slice(MATERIALS - POSTERS, None)
    first[:, door] = DOOR_COLOUR + _uniform(rng, -0.08, 0.08, first[:, door].shape)
    second[:, door] = 0.8 * first[:, door]
    second[:, posters] = _uniform(rng, 0.1, 1, second[:, posters].shape)
    waves[:, posters] = _uniform(rng, -4, 4, waves[:, posters].shape)
