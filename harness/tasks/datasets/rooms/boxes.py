"""The embedded task with a set of boxes as its answer: solids in rooms, seen by three sensors.

Data card. 1,600 train, 200 val and 400 test rooms from three frozen seeds of their own, rendered by
the ray caster of `rooms` in about 10 s on one core, once in a process.

- Up to three solids in a room, each a pillar, a box or a ball of which at least 40 pixels are seen.
  The 400 test rooms hold 259 pillars, 551 boxes and 195 balls; 8 rooms hold none. A target is the
  tight box around what is seen of a solid, half of them at most 10 of 48 pixels wide.
- In every second room the solids wear the texture of the walls or of the floor, as in `rooms`;
  posters and doors have no depth and are no objects.
- `rgb` and `depth` are those of `rooms`: random exposure and grain; noise that grows with distance,
  and 10 % holes.
- `range` is what a small lidar at the place of the camera gives: 6 rings of 48 rays, along every
  eighth row of the picture. A range is the length of its ray, not its depth. Noise of 2 cm at any
  distance, whole centimetres, and 5 % of the rays without a return, which hold 0. It has an eighth
  of the depth sensor's rays and none of its holes.

Test results of the same network trained on each sensor, by ``train --task rooms-boxes --model
detector``, ``detector-rgb``, ``detector-depth`` and ``detector-range`` with seed 0:

| sensors | mAP50 | mAP | AP50 of pillar, box, ball |
|---|---|---|---|
| rgb | .681 | .299 | .82, .50, .72 |
| depth | .818 | .415 | .94, .78, .73 |
| range | .690 | .294 | .95, .54, .58 |
| all | .883 | .487 | .94, .85, .86 |

The detector of all sensors never learnt with one missing: without rgb its mAP50 is .671, without
depth .636, without the range scan .690.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.tasks.batch import Batch
from harness.tasks.datasets.rooms.plan import BALL, CLASSES, GROUPS, Rooms, planned
from harness.tasks.datasets.rooms.plan import SOLIDS as SOLIDS_THERE
from harness.tasks.datasets.rooms.render import NONE, SIDE, rendered, solids_seen
from harness.tasks.datasets.rooms.sensors import FARTHEST, REACH, RINGS, SOLIDS, measured, photographed, scanned
from harness.tasks.modality import Modality
from harness.tasks.problems.boxes import Boxes
from harness.tasks.problems.detections import iou
from harness.tasks.task import Task

Array = NDArray[Any]

SEEDS = {"train": 20_274, "val": 20_275, "test": 20_276}
SIZES = {"train": 1_600, "val": 200, "test": 400}
GRID = SIDE // 4  # a detector answers once in 4×4 pixels
OBJECTS = 3  # at most, in a room
SEEN = 40  # pixels of a solid that must be seen
APART = 0.3  # the largest IoU of two boxes in one room
DETECTIONS = 20
MODALITIES = (
    Modality("rgb", (3, SIDE, SIDE), "image", 0.0, 255.0, 127.5, "linf:8"),
    Modality("depth", (1, SIDE, SIDE), "image", 0.0, FARTHEST, 0.0, "linf:0.1"),
    Modality("range", (len(RINGS), SIDE), "features", 0.0, REACH, 0.0, "linf:0.1"),
)
NOTE = "rgb from 0 to 255; depth from 0 to 6 and range from 0 to 7 in metres, where 0 is no measurement"


def rooms_boxes() -> Task:
    """Where are the pillars, boxes and balls of a room? Rendered rooms as a colour picture, noisy
    depth and a sparse range scan.

    1,600 train, 200 val and 400 test rooms with up to three solids.
    """
    problem = Boxes(len(SOLIDS), GRID * GRID, tuple(CLASSES[each] for each in SOLIDS), most=DETECTIONS)
    splits = {split: _batch(split) for split in SIZES}
    return Task("rooms-boxes", MODALITIES, problem, splits, NOTE, report_groups=GROUPS)


@cache
def _batch(split: str) -> Batch:
    rng = np.random.RandomState(SEEDS[split])
    each = _furnished(planned(SIZES[split], rng), rng)
    seen = rendered(each)
    sensed = {"rgb": photographed(seen, rng), "depth": measured(seen, rng), "range": scanned(seen, rng)}
    inputs = {name: torch.tensor(x) for name, x in sensed.items()}
    samples = tuple(f"rooms-boxes-{split}-{row:04d}" for row in range(len(each)))
    groups = tuple(GROUPS[int(camouflaged)] for camouflaged in each.camouflaged)
    return Batch(samples, inputs, _targets(each, seen.solid), groups)


def _furnished(rooms: Rooms, rng: np.random.RandomState) -> Rooms:
    """The rooms with at most three solids each, all well seen and apart from each other."""
    solid = solids_seen(rooms)
    boxes = cornered(solid)
    alike, large = (iou(boxes, boxes) > APART).numpy(), _pixels(solid) >= SEEN
    kept = np.zeros(large.shape, bool)
    for number in rng.permutation(SOLIDS_THERE):
        near = (alike[:, number] & kept).any(1)
        kept[:, number] = large[:, number] & ~near & (kept.sum(1) < OBJECTS)
    boxed, round_ones = np.split(kept, [rooms.boxes.there.shape[1]], axis=1)
    return replace(rooms, boxes=replace(rooms.boxes, there=boxed), balls=replace(rooms.balls, there=round_ones))


def _pixels(solid: Array) -> Array:
    """How many pixels of each solid are seen, (S, 6)."""
    return np.stack([(solid == number).sum((1, 2)) for number in range(SOLIDS_THERE)], 1)


def cornered(solid: Array) -> Tensor:
    """The tight box around what is seen of each solid in (S, 48, 48), as shares of the picture
    (S, 6, 4): left, top, right, bottom; all 0 where nothing is seen.
    """
    seen = solid[:, None] == np.arange(SOLIDS_THERE)[:, None, None]
    across, down = seen.any(2), seen.any(3)
    starts = [each.argmax(2) for each in (across, down)]
    ends = [SIDE - each[..., ::-1].argmax(2) for each in (across, down)]
    corners = np.stack([*starts, *ends], 2) * across.any(2)[..., None]
    return torch.tensor(corners / SIDE, dtype=torch.float32)


def _targets(rooms: Rooms, solid: Array) -> Tensor:
    """Class and box of the solids that are seen, (S, 3, 5); class -1 where there are fewer."""
    labels = np.concatenate([rooms.boxes.label, np.full(rooms.balls.there.shape, BALL)], 1)
    kinds = np.where(_pixels(solid) > 0, labels - SOLIDS[0], NONE)
    rows = torch.cat([torch.tensor(kinds, dtype=torch.float32)[..., None], cornered(solid)], 2)
    order = torch.tensor((kinds < 0).argsort(1, kind="stable")[:, :OBJECTS])
    return rows.gather(1, order[..., None].expand(-1, -1, rows.shape[2]))
