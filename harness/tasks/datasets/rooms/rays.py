"""Where rays meet solids. Vectors have their components first, (3, S, P): P rays in S rooms.

Only + - * / and square roots of single numbers are used. IEEE 754 rounds all of them exactly, so
that results depend on no library of mathematical functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEVEL = np.float32(1e-9)  # what stands for 0 in a direction, so that it can be divided by
NEVER = np.float32(np.inf)


def dot(a: Array, b: Array) -> Array:
    """The scalar product of vectors (3, ...)."""
    product: Array = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


def leave_room(origin: Array, ray: Array, size: Array) -> tuple[Array, Array, Array]:
    """How many times `ray` (3, S, P) reaches from inside a room to its walls.

    Returns:
        the times (S, P), the normals (3, S, P) into the room and the faces (S, P): twice the axis,
        and 1 at its far end.
    """
    ray = _divisible(ray)
    times = (np.where(ray > 0, size, np.float32(0)) - origin) / ray
    axis = times.argmin(0)
    return times.min(0), _against(ray, axis), 2 * axis + (np.take_along_axis(ray, axis[None], 0)[0] > 0)


def reach_box(origin: Array, ray: Array, centre: Array, half: Array, heading: Array) -> Array:
    """How many times `ray` (3, S, P) reaches to a box, infinite where it does not, (S, P).

    Args:
        origin: (3, S, 1 or P).
        centre, half: (3, S, 1).
        heading: (2, S, 1), cosine and sine.
    """
    return _slabs(origin, ray, centre, half, heading)[0]


def meet_box(origin: Array, ray: Array, centre: Array, half: Array, heading: Array) -> tuple[Array, Array]:
    """As `reach_box`, and the normals (3, S, P) of the faces that the rays enter."""
    time, way, enter = _slabs(origin, ray, centre, half, heading)
    return time, _turned(_against(way, enter.argmax(0)), heading[0], heading[1])


def _slabs(origin: Array, ray: Array, centre: Array, half: Array, heading: Array) -> tuple[Array, Array, Array]:
    """The times to a box, and in its own axes the rays, and the times to each axis' nearer face."""
    start, way = (_turned(each, heading[0], -heading[1]) for each in (origin - centre, ray))
    way = _divisible(way)
    middle, reach = -start / way, half / np.abs(way)
    enter = middle - reach
    time = enter.max(0)
    return np.where((time < (middle + reach).min(0)) & (time > 0), time, NEVER), way, enter


def reach_ball(origin: Array, ray: Array, centre: Array, radius: Array) -> Array:
    """How many times `ray` (3, S, P) reaches to a ball, infinite where it does not, (S, P).

    Args:
        origin: (3, S, 1 or P).
        centre: (3, S, 1).
        radius: (S, 1).
    """
    to, square = centre - origin, dot(ray, ray)
    nearest = dot(to, ray) / square
    aside = to - nearest * ray
    inside = radius * radius - dot(aside, aside)
    time = nearest - np.sqrt(np.maximum(inside, 0) / square)
    return np.where((inside > 0) & (time > 0), time, NEVER)


def meet_ball(origin: Array, ray: Array, centre: Array, radius: Array) -> tuple[Array, Array]:
    """As `reach_ball`, and the normals (3, S, P) where the rays meet it; 0 where they do not."""
    time = reach_ball(origin, ray, centre, radius)
    met = np.where(time < NEVER, time, np.float32(0))
    return time, np.where(time < NEVER, (origin + met * ray - centre) / radius, np.float32(0))


def _divisible(ray: Array) -> Array:
    return np.where(np.abs(ray) < LEVEL, LEVEL, ray)


def _against(ray: Array, axis: Array) -> Array:
    """Unit vectors along an axis (S, P) that face the ray (3, S, P)."""
    return np.where(np.arange(3)[:, None, None] == axis, -np.sign(ray), np.float32(0))


def _turned(vector: Array, cos: Array, sin: Array) -> Array:
    """Vectors (3, S, P) turned about the vertical."""
    x, y, z = vector
    return np.stack(np.broadcast_arrays(cos * x + sin * z, y, cos * z - sin * x))
