"""The embedded task with a point cloud as its input: which solids stand in a room?

Data card. The depth pictures of `rooms`, with their noise and without their holes: 1,400 train, 200
val and 400 test rooms. Of each, 256 random pixels become points in metres: right, down and away
from the camera. The order of the points means nothing.

The answers are whether at least 40 pixels of a pillar, of a box and of a ball are seen. Of the 400
test rooms 259 have a pillar, 356 a
box and 290 a ball; answering yes to all is right in 162 rooms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.tasks.batch import Batch
from harness.tasks.datasets.rooms import SEEDS, SIZES
from harness.tasks.datasets.rooms.plan import CLASSES, GROUPS, planned
from harness.tasks.datasets.rooms.render import Views, rendered, slopes
from harness.tasks.datasets.rooms.sensors import FARTHEST, SOLIDS, measured
from harness.tasks.modality import Modality
from harness.tasks.problems.labels import MultiLabel
from harness.tasks.task import Task

Array = NDArray[Any]

POINTS = 256
SEEN = 40  # pixels of a solid that must be seen
NOTE = "points in metres, right, down and away from the camera"


def rooms_points() -> Task:
    """Is there a pillar, a box, a ball in the room? 256 points from noisy depth.

    1,400 train, 200 val and 400 test rooms, rendered from seeds.
    """
    modality = Modality("points", (POINTS, 3), "features", -FARTHEST, FARTHEST, 0.0, "linf:0.05")
    problem = MultiLabel(len(SOLIDS), tuple(CLASSES[each] for each in SOLIDS))
    return Task("rooms-points", (modality,), problem, {split: _batch(split) for split in SIZES}, NOTE)


def _batch(split: str) -> Batch:
    rng = np.random.RandomState(SEEDS[split])
    each = planned(SIZES[split], rng)
    seen = rendered(each)
    points = torch.tensor(_chosen(seen, rng))
    there = np.stack([(seen.mask == solid).sum((1, 2)) >= SEEN for solid in SOLIDS], 1)
    samples = tuple(f"rooms-points-{split}-{row:04d}" for row in range(len(each)))
    groups = tuple(GROUPS[int(camouflaged)] for camouflaged in each.camouflaged)
    return Batch(samples, {"points": points}, torch.tensor(there.astype(np.int64)), groups)


def _chosen(views: Views, rng: np.random.RandomState) -> Array:
    """Points (S, 256, 3) of random pixels that are no holes."""
    clouds = placed(measured(views, rng))
    chosen = [rng.permutation(np.flatnonzero(cloud[:, 2]))[:POINTS] for cloud in clouds]
    found: Array = np.take_along_axis(clouds, np.stack(chosen)[..., None], 1)
    return found


def placed(depth: Array) -> Array:
    """Where each pixel of depth (S, 1, 48, 48) lies: right, down and away, (S, 48 · 48, 3) in
    metres.
    """
    down, right = np.meshgrid(slopes(), slopes(), indexing="ij")
    cloud: Array = np.stack([right, down, np.ones_like(right)], -1)[None] * depth[:, 0, :, :, None]
    return cloud.reshape(len(depth), -1, 3)
