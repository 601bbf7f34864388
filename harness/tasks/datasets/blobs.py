"""Proposals of blood cells without a detector: blobs of the sizes of cells, where the response of
their filter is largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BINS = 256
RED, GREEN = 0, 1  # channels
BOX = 1.3  # half the side of a box, in radii of its blob


@dataclass(frozen=True)
class Sought:
    """Blobs of one size.

    Attributes:
        radius: in pixels.
        apart: pixels: in a square of this side around its middle there is one.
        most: how many of them are proposed.
        solid: whether to look at the outline, pale middles filled, in green, where all cells are
            dark; otherwise at the red channel, where stained ones are.
    """

    radius: float
    apart: int
    most: int
    solid: bool


CELLS = (Sought(8, 7, 36, True), Sought(13, 15, 3, False), Sought(3, 7, 8, False))  # red cells, white cells, platelets
PROPOSALS = sum(sought.most for sought in CELLS)


def blobs(picture: Array) -> Array:
    """Boxes (47, 5) of possible cells in an image (3, 96, 128): left, top, right, bottom as shares
    of it, and a score.

    The scale-normalised Laplacian of Gaussian (Lindeberg, IJCV 1998) at three radii; no annotation
    is used. The score is the filter's answer as a share of the largest at that radius. The surest
    boxes come first; rows of zeros fill the rest.
    """
    found = np.concatenate([_found(picture, sought) for sought in CELLS])
    boxes = np.zeros((PROPOSALS, 5), np.float32)
    boxes[: len(found)] = found[np.argsort(-found[:, 4], kind="stable")]
    return boxes


def _found(picture: Array, sought: Sought) -> Array:
    from scipy import ndimage

    green = picture[GREEN].astype(float)
    bright = (
        -ndimage.binary_fill_holes(green < otsu(green)).astype(float) if sought.solid else picture[RED].astype(float)
    )
    answer = ndimage.gaussian_laplace(bright, sought.radius / np.sqrt(2), mode="nearest")
    y, x = np.nonzero((answer == ndimage.maximum_filter(answer, sought.apart)) & (answer > 0))
    order = np.argsort(-answer[y, x], kind="stable")[: sought.most]
    middle, score = np.stack([x, y, x, y], 1)[order] + 0.5, answer[y, x][order]
    reach = np.array([-1, -1, 1, 1]) * BOX * sought.radius
    corners = ((middle + reach) / np.tile(green.shape[::-1], 2)).clip(0, 1)
    return np.concatenate([corners, (score / score.max(initial=1e-9))[:, None]], 1)


def otsu(grey: Array) -> float:
    """The threshold that parts values into two classes which lie farthest apart, weighed by their
    sizes (Otsu, IEEE SMC 1979).
    """
    counts, edges = np.histogram(grey, BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    below, sums = counts.cumsum()[:-1].astype(float), (counts * middles).cumsum()
    above = counts.sum() - below
    gap = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][(below * above * gap**2).argmax()])
