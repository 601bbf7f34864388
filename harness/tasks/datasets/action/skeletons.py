"""Skeletons of 20 joints, as Kinect's first camera gives them, and films of them.

A skeleton in time is (3, T, V, M): right, up and away from the camera in metres, frames, joints,
persons. A film shows it from another camera, which stands beside the person: what moves towards the
first camera moves across the film, and what moves sideways hardly moves in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NAMES = (
    "waist", "spine", "neck", "head",
    "right shoulder", "right elbow", "right wrist", "right hand",
    "left shoulder", "left elbow", "left wrist", "left hand",
    "right hip", "right knee", "right ankle", "right foot",
    "left hip", "left knee", "left ankle", "left foot",
)  # fmt: skip
"""The joints in our order. The first is the origin of a model that centres skeletons."""
JOINTS = len(NAMES)
ABOVE = (-1, 0, 1, 2, 2, 4, 5, 6, 2, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18)
"""The joint from which the bone to each joint comes; -1 for the first."""
FRAMES, FILMED = 32, 8  # of a skeleton and of its film
SIDE = 32  # pixels of a film, each way
HEIGHT = 2.4  # metres that a film shows, each way
BONE, TRUNK, SKULL, THING = 0.05, 0.12, 0.11, 0.13  # radii in metres
FARTHER = 0.5  # how much darker the farthest part of a body is than the nearest
BODY = np.float32(0.8)  # the brightest part of a body; the ball has 1
AT_ONCE = 8  # films drawn together: what a processor's cache holds
REACH = 1.0  # metres from the nearest part to the farthest


def stretched(frames: Array, count: int) -> Array:
    """A sequence (T, ...) of any length as `count` frames, linear in time between the first and the
    last.

    >>> stretched(np.array([0.0, 2.0]), 3)
    array([0., 1., 2.])
    """
    at = np.linspace(0, len(frames) - 1, count)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(frames) - 1)
    share = (at - low).reshape(-1, *[1] * (frames.ndim - 1))
    found: Array = (1 - share) * frames[low] + share * frames[high]
    return found


def filmed(bodies: Array, turn: Array, tilt: Array, held: Array) -> Array:
    """Grey films (S, 1, F, 32, 32) in [0, 1] of bodies (S, F, 20, 3), without noise.

    Args:
        turn: of the camera around the person, in radians (S,); 0 looks as the first camera does.
        tilt: by how much the camera looks down, in radians (S,).
        held: bool (S,), whether a bright ball lies in the right hand.
    """
    seen = _turned(bodies - bodies[:, :1, :1], turn, tilt).astype(np.float32)
    parts = [_film(seen[at : at + AT_ONCE], held[at : at + AT_ONCE]) for at in range(0, len(seen), AT_ONCE)]
    return np.concatenate(parts)


def _film(seen: Array, held: Array) -> Array:
    film = np.zeros((*seen.shape[:2], SIDE, SIDE), np.float32)
    for joint in range(1, JOINTS):
        radius = TRUNK if joint in (1, 2) else SKULL if joint == 3 else BONE
        film = np.maximum(film, _drawn(seen[:, :, ABOVE[joint]], seen[:, :, joint], radius))
    hand = seen[:, :, NAMES.index("right hand")]
    ball = (_drawn(hand, hand, THING) > 0) & held[:, None, None, None]
    shown: Array = np.where(ball, np.float32(1), BODY * film)[:, None]
    return shown


def _turned(points: Array, turn: Array, tilt: Array) -> Array:
    """Points (S, F, V, 3) in the axes of another camera."""
    across, up, away = (points[..., axis] for axis in range(3))
    cos, sin = (f(turn)[:, None, None] for f in (np.cos, np.sin))
    across, away = cos * across + sin * away, cos * away - sin * across
    cos, sin = (f(tilt)[:, None, None] for f in (np.cos, np.sin))
    up, away = cos * up + sin * away, cos * away - sin * up
    return np.stack([across, up, away], -1)


def _drawn(start: Array, end: Array, radius: float) -> Array:
    """The light (S, F, 32, 32) of a round bone from `start` to `end` (S, F, 3)."""
    pixel = HEIGHT / SIDE
    places = ((np.arange(SIDE) + 0.5) * pixel - HEIGHT / 2).astype(np.float32)
    across, down = places[None, None, None, :], -places[None, None, :, None]
    flat = (*np.moveaxis(start[..., :2], -1, 0), *np.moveaxis((end - start)[..., :2], -1, 0))
    from_x, from_y, along_x, along_y = (each[..., None, None] for each in flat)
    length = np.maximum(along_x**2 + along_y**2, 1e-9)
    share = (((across - from_x) * along_x + (down - from_y) * along_y) / length).clip(0, 1)
    distance = np.hypot(across - from_x - share * along_x, down - from_y - share * along_y)
    cover = (0.5 + (radius - distance) / pixel).clip(0, 1)
    away = ((start[..., 2] + end[..., 2]) / 2)[..., None, None]
    light = 1 - FARTHER * (0.5 + away / REACH).clip(0, 1)
    found: Array = (cover * light).astype(np.float32)
    return found


def noisy(films: Array, rng: np.random.RandomState, grain: float, widest: int) -> Array:
    """Films (S, 1, F, 32, 32) with a dark post of random place and width before the body, and
    grain: multiples of 1/255 from 0 to 1.
    """
    count = len(films)
    width, left = rng.randint(2, widest + 1, count), rng.randint(0, SIDE, count)
    columns = np.arange(SIDE)
    post = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    shown = np.where(post[:, None, None, None, :], np.float32(0), films)
    # rounded: another machine's sines may differ in the last digit
    found: Array = np.rint(255 * (shown + grain * rng.normal(size=films.shape)).clip(0, 1)).astype(np.float32)
    return found / np.float32(255)
