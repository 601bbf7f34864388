"""Scenes planned so that a question has a given answer; all scenes at once, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.datasets.scenes.place import placed
from harness.tasks.datasets.scenes.questions import STAR, Question
from harness.tasks.datasets.scenes.vocabulary import ATTRIBUTES, PLACES

Array = NDArray[Any]

OBJECTS = 15  # the most in a scene, beside the star
RADII = {"small": (3.1, 3.6), "big": (4.9, 5.6)}  # pixels
STAR_BETWEEN = (26.0, 38.0)  # pixels, both ways: either side of it has room for 15 objects
STAR_RADIUS = 4.0


@dataclass(frozen=True, eq=False)
class Scenes:
    """S scenes of up to 15 objects, and one white star in each.

    Attributes:
        attributes: of each object, (S, 15, 4): the number of its size, texture, colour and shape;
            -1 where there is no object.
        centres: (S, 15, 2), x to the right and y down, in pixels; later objects hide earlier ones.
        radii: (S, 15), in pixels.
        stars: the centre of the star, (S, 2).
    """

    attributes: Array
    centres: Array
    radii: Array
    stars: Array

    @property
    def there(self) -> Array:
        """Which objects there are, bool (S, 15)."""
        return self.attributes[:, :, 0] >= 0


def planned(questions: Sequence[Question], counts: Sequence[int], rng: np.random.RandomState) -> Scenes:
    """Scenes in which the questions have these counts: for `more` the difference, for others the
    number of matching objects.

    Objects that do not count share all but one attribute with those that do in about half of the
    cases, or stand on the other side. Every other scene is full, whatever the count: the number of
    objects gives little information about the answer.
    """
    wanted = np.array([[_number(question, name) for name in ATTRIBUTES] for question in questions])
    axis = np.array([PLACES.index(question.place) // 2 if question.place else -1 for question in questions])
    sign = np.array([1 if question.place in ("right", "lower") else -1 for question in questions])
    roles, sides = zip(
        *(_roles(question, count, rng) for question, count in zip(questions, counts, strict=True)), strict=True
    )
    role, side = np.array(roles), np.array(sides) * sign[:, None]
    order = rng.rand(*role.shape).argsort(1)
    role, side = np.take_along_axis(role, order, 1), np.take_along_axis(side, order, 1)
    attributes = _attributes(wanted, role, rng)
    small, big = (rng.uniform(*RADII[size], role.shape) for size in ("small", "big"))
    radii = np.where(attributes[:, :, 0] == 1, big, small)
    stars = rng.uniform(*STAR_BETWEEN, (len(role), 2))
    line = np.array(
        [
            star[max(along, 0)] if question.of == STAR else np.nan
            for question, star, along in zip(questions, stars, axis, strict=True)
        ]
    )
    centres = placed(role >= 0, radii, (stars, STAR_RADIUS), axis, side, line, rng)
    return Scenes(attributes, centres, radii, stars)


NONE, OTHER, LIKE = -1, 0, 1  # roles: no object, one without the attributes, one with them


def _roles(question: Question, count: int, rng: np.random.RandomState) -> tuple[list[int], list[int]]:
    """The role of each of the 15 objects, and its side: 1 where the question looks, -1 opposite, 0
    anywhere.
    """
    if question.kind == "more":
        opposite = rng.randint(min((OBJECTS - count) // 2, 4) + 1)
        objects = [(LIKE, 1)] * (count + opposite) + [(LIKE, -1)] * opposite
    else:
        objects = [(LIKE, 1 if question.place else 0)] * count
    total = OBJECTS if rng.randint(2) else rng.randint(len(objects), OBJECTS + 1)
    while len(objects) < total:
        near = question.kind == "count" and question.place and rng.randint(2)
        objects.append((LIKE, -1) if near else (OTHER, 0))
    objects += [(NONE, 0)] * (OBJECTS - total)
    return [role for role, _ in objects], [side for _, side in objects]


def _number(question: Question, name: str) -> int:
    return ATTRIBUTES[name].index(question.wanted[name]) if name in question.wanted else -1


def _attributes(wanted: Array, role: Array, rng: np.random.RandomState) -> Array:
    """Attributes (S, 15, 4) that fit the wanted ones (S, 4; -1 is any) where the role requires it,
    and nowhere else.
    """
    sizes = np.array([len(values) for values in ATTRIBUTES.values()])
    asked = (wanted >= 0)[:, None].repeat(role.shape[1], 1)
    drawn = (rng.rand(*role.shape, len(sizes)) * sizes).astype(np.int64)
    near = (role == OTHER) & (rng.rand(*role.shape) < 0.5)
    drawn = np.where(asked & ((role == LIKE) | near)[:, :, None], wanted[:, None], drawn)
    fits = (~asked | (drawn == wanted[:, None])).all(2) & (role == OTHER)
    changed = np.where(asked, rng.rand(*drawn.shape), -1).argmax(2)[:, :, None] == np.arange(len(sizes))
    step = 1 + (rng.rand(*drawn.shape) * (sizes - 1)).astype(np.int64)
    drawn = np.where(changed & fits[:, :, None], (drawn + step) % sizes, drawn)
    return np.where((role == NONE)[:, :, None], -1, drawn).astype(np.int8)
