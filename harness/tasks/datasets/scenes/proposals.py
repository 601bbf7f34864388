"""Object proposals as a detector gives them: moved a little, some missing, some twice, some without
an object.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

PROPOSALS = 24
MISSED, DOUBLED, MISTAKEN = 0.05, 0.15, 0.3  # shares of objects, of objects, of clutter
JITTER = 0.12  # standard deviation of centre and logarithmic size, in radii
SCORES = {"object": (0.6, 1.0), "double": (0.3, 0.8), "clutter": (0.1, 0.6)}


def proposals(
    objects: tuple[Array, Array, Array], clutter: tuple[Array, Array, Array], side: int, rng: np.random.RandomState
) -> Array:
    """Boxes (S, 24, 5): left, top, right, bottom as shares of the image and the detector's score,
    the surest first.

    Rows of zeros fill the rest. Misses, copies and mistakes are random, and do not depend on the
    question.

    Args:
        objects: centres (S, n, 2) and radii (S, n) in pixels, and which there are, bool (S, n).
        clutter: the same for clutter, which is not an object.
        side: of the image, in pixels.
    """
    found = objects[2] & (rng.rand(*objects[2].shape) >= MISSED)
    twice = found & (rng.rand(*found.shape) < DOUBLED)
    wrong = clutter[2] & (rng.rand(*clutter[2].shape) < MISTAKEN)
    parts = [
        _boxes(*objects[:2], found, SCORES["object"], side, rng),
        _boxes(*objects[:2], twice, SCORES["double"], side, rng),
        _boxes(*clutter[:2], wrong, SCORES["clutter"], side, rng),
    ]
    boxes = np.concatenate(parts, 1)
    surest = (-boxes[:, :, 4]).argsort(1, kind="stable")[:, :PROPOSALS]
    return np.take_along_axis(boxes, surest[:, :, None], 1).astype(np.float32)


def _boxes(
    centres: Array, radii: Array, kept: Array, scores: tuple[float, float], side: int, rng: np.random.RandomState
) -> Array:
    moved = centres + JITTER * radii[:, :, None] * rng.standard_normal(centres.shape)
    half = radii[:, :, None] * np.exp(JITTER * rng.standard_normal(centres.shape))
    corners = np.clip(np.concatenate([moved - half, moved + half], 2) / side, 0, 1)
    boxes = np.concatenate([corners, rng.uniform(*scores, (*radii.shape, 1))], 2)
    return np.where(kept[:, :, None], boxes, 0.0)
