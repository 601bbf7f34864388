"""The images of a camera and a depth sensor from views."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.datasets.rooms.plan import BALL, BOX, PILLAR
from harness.tasks.datasets.rooms.render import SIDE, Views, slopes

Array = NDArray[Any]

IGNORED = 255
SOLIDS = (PILLAR, BOX, BALL)
FARTHEST = 6.0  # metres
GRAIN = 10.0  # standard deviation of a pixel's noise, of 255
GAIN = (0.9, 1.6)  # exposure, drawn per picture
DEPTH_NOISE = (0.01, 0.005)  # standard deviation in metres: constant, and per square metre of depth
SPECKLE = 0.04  # chance of a hole at any pixel
GRAZING = 0.2  # the cosine between ray and normal below which half of the pixels are holes
SPOTS, SPOT_RADIUS = 3, (2.0, 6.0)  # round holes per picture, pixels
RINGS = tuple(range(4, SIDE, 8))  # rows of the picture that a range scan follows
REACH = 7.0  # metres, the end of a range scan
RANGE_NOISE = 0.02  # standard deviation of a range in metres, at any distance
UNRETURNED = 0.05  # chance that no light of a ray returns
JUMP = 0.1  # of the depth: two pixels that differ by more are on both sides of an edge


def photographed(views: Views, rng: np.random.RandomState) -> Array:
    """Pictures (S, 3, 48, 48) of any exposure, with grain: whole numbers from 0 to 255,
    float32.
    """
    gain = rng.uniform(*GAIN, (len(views.rgb), 1, 1, 1)).astype(np.float32)
    grain = np.float32(GRAIN) * bells(views.rgb.shape, rng)
    picture: Array = np.clip(np.rint(255 * gain * views.rgb + grain), 0, 255)
    return picture


def measured(views: Views, rng: np.random.RandomState) -> Array:
    """Depths (S, 1, 48, 48), in whole millimetres given in metres, noisier with the distance; 0 in
    holes.
    """
    depth = views.depth
    noise = np.float32(DEPTH_NOISE[0]) + np.float32(DEPTH_NOISE[1]) * depth * depth
    millimetres = np.rint(1000 * (depth + noise * bells(depth.shape, rng))).clip(0, 1000 * FARTHEST)
    return np.where(_holes(views, rng), np.float32(0), millimetres.astype(np.float32) / np.float32(1000))


def scanned(views: Views, rng: np.random.RandomState) -> Array:
    """Ranges (S, 6, 48) of 6 rings of 48 rays along the rows `RINGS`, as a lidar gives them: the
    length of each ray and not its depth, in whole centimetres given in metres; 0 where no light
    returns.
    """
    steps, rows = slopes(), list(RINGS)
    length = np.sqrt(1 + steps * steps + (steps * steps)[rows, None])
    ranges = views.depth[:, 0, rows] * length
    centimetres = np.rint(100 * (ranges + np.float32(RANGE_NOISE) * bells(ranges.shape, rng))).clip(0, 100 * REACH)
    lost = rng.rand(*ranges.shape) < UNRETURNED
    return np.where(lost, np.float32(0), centimetres.astype(np.float32) / np.float32(100))


def labelled(views: Views) -> Array:
    """Classes (S, 48, 48), int64; 255 at the edges of solids, where a real pixel would be a mixture
    of two.
    """
    depth, mask = views.depth[:, 0], views.mask
    edge = np.zeros(mask.shape, bool)
    for axis in (1, 2):
        far, near = (np.take(depth, rows, axis) for rows in (range(1, SIDE), range(SIDE - 1)))
        before, after = (np.take(mask, rows, axis) for rows in (range(SIDE - 1), range(1, SIDE)))
        solid = np.isin(before, SOLIDS) | np.isin(after, SOLIDS)
        first = tuple(slice(None, -1) if each == axis else slice(None) for each in range(3))
        edge[first] |= solid & (before != after) & (np.abs(far - near) > JUMP * near)
    return np.where(edge, IGNORED, mask).astype(np.int64)


def bells(shape: tuple[int, ...], rng: np.random.RandomState) -> Array:
    """Bell-shaped noise of mean 0 and standard deviation 1, from four bytes each and no
    logarithm.
    """
    dice = np.frombuffer(rng.bytes(4 * int(np.prod(shape))), np.uint8).reshape(*shape, 4)
    sums = dice.sum(-1, dtype=np.int32).astype(np.float32)
    noise: Array = (sums - np.float32(510)) / np.float32((65535 / 3) ** 0.5)
    return noise


def _holes(views: Views, rng: np.random.RandomState) -> Array:
    """Where nothing is measured, bool (S, 1, 48, 48)."""
    count = len(views.depth)
    chance = np.where(views.facing < GRAZING, 0.5, SPECKLE)
    holes: Array = rng.rand(*chance.shape) < chance
    pixels = np.arange(SIDE)
    for _ in range(SPOTS):
        x, y = rng.uniform(0, SIDE, (2, count, 1, 1, 1))
        radius = rng.uniform(*SPOT_RADIUS, (count, 1, 1, 1))
        holes |= (pixels - x) ** 2 + (pixels[:, None] - y) ** 2 < radius * radius
    return holes
