"""The places of objects: on the required side, and not hidden by one another if possible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SIDE = 64  # of the image, in pixels
CLEAR = 1.5  # pixels that a centre keeps from the line that decides its side
OVERLAP = 1.5  # pixels by which objects may overlap where there is room
TRIES = 24


def placed(
    there: Array,
    radii: Array,
    star: tuple[Array, float],
    axis: Array,
    side: Array,
    line: Array,
    rng: np.random.RandomState,
) -> Array:
    """Centres (S, n, 2) in pixels: of drawn places each object takes the first that overlaps
    little, else the best.

    Args:
        there: which objects there are, bool (S, n).
        radii: (S, n).
        star: centres (S, 2) and radius of the star that is placed already.
        axis: along which sides lie, (S,): 0 from left to right, 1 from top to bottom, -1 for no
            sides.
        side: where an object must stand, (S, n): -1 before the line, 1 behind it, 0 anywhere.
        line: where the sides meet, (S,); NaN is the middle of the image.
    """
    scenes, count = there.shape
    line = np.where(np.isnan(line), SIDE / 2, line)
    centres, sizes = np.zeros((scenes, count, 2)), np.where(there, radii, -np.inf)
    for row in range(count):
        low, high = (np.repeat(end[:, None], 2, axis=1) for end in (radii[:, row] + 1, SIDE - 1 - radii[:, row]))
        for each in (0, 1):
            along = axis == each
            before, behind = along & (side[:, row] < 0), along & (side[:, row] > 0)
            high[before, each], low[behind, each] = line[before] - CLEAR, line[behind] + CLEAR
        tried = low[:, None] + rng.rand(scenes, TRIES, 2) * (high - low)[:, None]
        others = np.concatenate([star[0][:, None], centres[:, :row]], 1)
        reach = np.concatenate([np.full((scenes, 1), star[1]), sizes[:, :row]], 1) + radii[:, row, None]
        gaps = np.linalg.norm(tried[:, :, None] - others[:, None], axis=3) - reach[:, None]
        best = np.minimum(gaps.min(2), -OVERLAP).argmax(1)
        centres[:, row] = tried[np.arange(scenes), best]
    return centres
