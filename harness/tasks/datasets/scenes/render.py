"""Scenes as images (S, 3, 64, 64), 0 to 255: every object is a small patch with soft edges, laid
over earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.datasets.scenes.place import SIDE
from harness.tasks.datasets.scenes.plan import STAR_RADIUS, Scenes
from harness.tasks.datasets.scenes.vocabulary import COLOURS, RGB

Array = NDArray[Any]

REACH = 7  # a patch goes so many pixels from its centre each way
CLUTTER = 8  # the most bits of it in a scene
AT_ONCE = 128  # scenes drawn together: they fit into a processor's cache
STRIPES = 3.3  # pixels from one to the next
STAR, BAR = 4, 5  # shapes beside those of the questions


@dataclass(frozen=True, eq=False)
class Marks:
    """The marks to draw: n in each of S scenes, the later over the earlier.

    Attributes:
        centres, radii: (S, n, 2) and (S, n), in pixels.
        shape: its number, or -1 for nothing, (S, n).
        colour: (S, n, 3).
        striped: bool (S, n).
    """

    centres: Array
    radii: Array
    shape: Array
    colour: Array
    striped: Array

    def over(self, below: Marks) -> Marks:
        """These marks on top of others."""
        parts = [np.concatenate(pair, 1) for pair in zip(vars(below).values(), vars(self).values(), strict=True)]
        return Marks(*parts)


def clutter(count: int, rng: np.random.RandomState) -> Marks:
    """Grey bars and dots that mean nothing, up to 8 in each of `count` scenes."""
    size = (count, CLUTTER)
    shape = np.where(rng.rand(*size) < rng.rand(count, 1), np.where(rng.rand(*size) < 0.5, BAR, 0), -1)
    radii = np.where(shape == BAR, rng.uniform(2.5, 6.0, size), rng.uniform(0.8, 1.6, size))
    colour = np.repeat(rng.uniform(50, 210, (*size, 1)), 3, axis=2)
    return Marks(rng.uniform(2, SIDE - 2, (*size, 2)), radii, shape, colour, np.zeros(size, bool))


def objects(scenes: Scenes, rng: np.random.RandomState) -> Marks:
    """The star, and the objects in shades of their colours."""
    count, there = len(scenes.stars), scenes.there
    palette = np.array([RGB[name] for name in COLOURS], float)
    shades = palette[scenes.attributes[:, :, 2]] + rng.uniform(-18, 18, (*there.shape, 3))
    return Marks(
        np.concatenate([scenes.stars[:, None], scenes.centres], 1),
        np.concatenate([np.full((count, 1), STAR_RADIUS), scenes.radii], 1),
        np.concatenate([np.full((count, 1), STAR), np.where(there, scenes.attributes[:, :, 3], -1)], 1),
        np.concatenate([np.full((count, 1, 3), 250.0), shades], 1),
        np.concatenate([np.zeros((count, 1), bool), there & (scenes.attributes[:, :, 1] == 1)], 1),
    )


def pictures(marks: Marks, rng: np.random.RandomState) -> Array:
    """The marks on backgrounds, (S, 3, 64, 64), whole numbers from 0 to 255 as float32."""
    parts = (slice(start, start + AT_ONCE) for start in range(0, len(marks.radii), AT_ONCE))
    return np.concatenate([_drawn(Marks(*(each[part] for each in vars(marks).values())), rng) for part in parts])


def _backgrounds(count: int, rng: np.random.RandomState) -> Array:
    """A dull colour that changes slowly across the image, blotches and grain, (count, 3, 64,
    64).
    """
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    tint = rng.uniform(85, 150, (count, 1, 1, 1)) + rng.uniform(-14, 14, (count, 3, 1, 1))
    slopes = rng.uniform(-20, 20, (2, count, 1, 1, 1)).astype(np.float32)
    blotches = (
        (8 * rng.standard_normal((count, 1, SIDE // 8, SIDE // 8)))
        .astype(np.float32)
        .repeat(8, axis=2)
        .repeat(8, axis=3)
    )
    grain = rng.randint(-8, 9, (count, 1, SIDE, SIDE), dtype=np.int8)
    picture: Array = tint.astype(np.float32) + (slopes[0] * ramp[:, None] + slopes[1] * ramp + blotches + grain)
    return picture


def _drawn(marks: Marks, rng: np.random.RandomState) -> Array:
    scenes, count = marks.radii.shape
    canvas = np.pad(_backgrounds(scenes, rng), ((0, 0), (0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
    turn, lines = rng.uniform(-0.3, 0.3, (scenes, count)), rng.uniform(0, np.pi, (scenes, count))
    turn = np.where(marks.shape == BAR, lines, turn)
    offsets = np.arange(-REACH, REACH + 1)
    rows = np.arange(scenes)[:, None, None]
    for mark in range(count):
        corner = np.floor(marks.centres[:, mark]).astype(int)
        x = (corner[:, :1] + 0.5 + offsets - marks.centres[:, mark, :1])[:, None].astype(np.float32)
        y = (corner[:, 1:] + 0.5 + offsets - marks.centres[:, mark, 1:])[:, :, None].astype(np.float32)
        covered = _covered(x, y, marks.radii[:, mark], turn[:, mark], marks.shape[:, mark])[:, None]
        dark = marks.striped[:, mark, None, None] & (np.sin(2 * np.pi / STRIPES * _turned(x, y, lines[:, mark])[0]) > 0)
        colour = (
            marks.colour[:, mark, :, None, None].astype(np.float32)
            * np.where(dark, np.float32(0.35), np.float32(1))[:, None]
        )
        down, right = (corner[:, 1:] + REACH + offsets)[:, :, None], (corner[:, :1] + REACH + offsets)[:, None]
        patch = canvas[rows, :, down, right].transpose(0, 3, 1, 2)
        canvas[rows, :, down, right] = (patch + covered * (colour - patch)).transpose(0, 2, 3, 1)
    picture: Array = np.clip(np.rint(canvas[:, :, REACH:-REACH, REACH:-REACH]), 0, 255)
    return picture


def _turned(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    cos, sin = (each(angle).astype(np.float32)[:, None, None] for each in (np.cos, np.sin))
    return cos * x + sin * y, cos * y - sin * x


def _covered(x: Array, y: Array, radius: Array, turn: Array, shape: Array) -> Array:
    """The share of each pixel that a mark covers, (S, h, w) in [0, 1]: 1 from half a pixel within
    its edge, 0 from half a pixel outside.
    """
    r = radius.astype(np.float32)[:, None, None]
    u, v = _turned(x, y, turn)
    wide, high, far = np.abs(u), np.abs(v), np.hypot(u, v)
    arms = np.maximum(np.minimum(wide, high) - 0.36 * r, np.maximum(wide, high) - r)
    triangle = np.maximum(0.866 * wide - 0.5 * v, v) - 0.5 * r
    star = far - r * (0.68 + 0.32 * np.cos(5 * np.arctan2(u, -v)))
    bar = np.maximum(wide - r, high - 0.6)
    edges = [far - r, np.maximum(wide, high) - 0.85 * r, triangle, arms, star, bar]
    distance = np.select([shape[:, None, None] == number for number in range(len(edges))], edges, np.float32(9))
    covered: Array = np.clip(0.5 - distance, 0, 1)
    return covered
