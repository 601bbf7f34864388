"""The embedded tasks with an image as their answer: which colours does a room have, seen by its
light and edges, or by its shape?

Data card. The rooms of `rooms`: 1,400 train, 200 val and 400 test, 48×48 pixels, from the same
seeds, without noise. The answer is the picture in red, green and blue, from 0 to 1.

- `rooms-shade-texture` has `shade`, the light that falls on what is seen, and `texture`, the
  gradient of the grey albedo without shadows.
- `rooms-depth-normal` has `depth` in metres and `normal`, unit vectors: right, up and towards the
  viewer.
- The class of a thing gives most of its colour. The rest is random, and no input shows it. In the
  random colours of `rooms` there would be little to recognise: pix2pix of shade and texture reached
  an L1 of .092 there, and so did the shade in the mean colour (.091, val). In camouflaged rooms
  solids look like the walls or the floor, here too.
- FID and KID come from the extractor beside this file, 88 features. Their floor, between the two
  halves of the 400 test pictures, is .24 and .002.

Test results of the same U-Net trained on each input, by ``train --recipe pix2pix --epochs 10`` with
models `pix2pix-<modality>` and `pix2pix` and seed 0. The mean of the training pictures has an L1 of
.060.

| inputs | L1 | SSIM | FID | KID |
|---|---|---|---|---|
| shade | .044 | .717 | 3.77 | .180 |
| texture | .052 | .632 | 2.01 | .065 |
| both | .039 | .774 | 1.16 | .034 |
| depth | .054 | .612 | 5.64 | .292 |
| normal | .052 | .639 | 5.64 | .297 |
| both | .053 | .644 | 1.82 | .064 |

Depth and normals hold the same information about places: by L1, both together are no better than
normals alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from harness.tasks.batch import Batch
from harness.tasks.datasets.rooms import SEEDS, SIZES
from harness.tasks.datasets.rooms.extractor import RoomFeatures
from harness.tasks.datasets.rooms.plan import BALLS, BOXES, GROUPS, POSTERS, Rooms, planned
from harness.tasks.datasets.rooms.render import SIDE, Views, rendered
from harness.tasks.datasets.rooms.sensors import FARTHEST
from harness.tasks.modality import Modality
from harness.tasks.problems.images import Images
from harness.tasks.task import Task

STEEPEST = 0.75  # above the largest gradient that Sobel's filters give between 0 and 1, the root of 1/2
OWN = 0.3  # the share of a thing's random colour in its colour
PALETTE = np.array(  # of the materials of a room, in their order: surfaces, solids, door, posters
    [
        [0.50, 0.35, 0.22],  # floor
        [0.88, 0.88, 0.84],  # ceiling
        [0.72, 0.68, 0.50],  # walls
        [0.35, 0.50, 0.72],  # pillar
        *[[0.70, 0.33, 0.25]] * BOXES,
        *[[0.30, 0.65, 0.35]] * BALLS,
        [0.42, 0.26, 0.16],  # door
        *[[0.72, 0.35, 0.65]] * POSTERS,
    ],
    np.float32,
)
KEPT = 0.75  # the share of the untouched score below which a sample has failed: the error is then about twice as large
MODALITIES = {  # by the name of the task; the names of modalities are those of views
    "rooms-shade-texture": (
        Modality("shade", (1, SIDE, SIDE), "image", 0.0, 1.0, 0.5, "linf:0.03"),
        Modality("texture", (1, SIDE, SIDE), "image", 0.0, STEEPEST, 0.0, "linf:0.03"),
    ),
    "rooms-depth-normal": (
        Modality("depth", (1, SIDE, SIDE), "image", 0.0, FARTHEST, 0.0, "linf:0.1"),
        Modality("normal", (3, SIDE, SIDE), "image", -1.0, 1.0, 0.0, "linf:0.05"),
    ),
}


def shade_texture() -> Task:
    """Which colours does a room have? Shade and texture edges to a picture in colour.

    1,400 train, 200 val and 400 test rooms, 48×48 pixels, rendered from seeds.
    """
    note = "shade from 0 to 1, texture edges from 0 to 0.75; the answer is a picture from 0 to 1"
    return _task("rooms-shade-texture", note)


def depth_normal() -> Task:
    """Which colours does a room have? Depth and surface normals to a picture in colour.

    1,400 train, 200 val and 400 test rooms, 48×48 pixels, rendered from seeds.
    """
    note = "depth in metres from 0 to 6, normals are unit vectors; the answer is a picture from 0 to 1"
    return _task("rooms-depth-normal", note)


def _task(name: str, note: str) -> Task:
    problem = Images((3, SIDE, SIDE), thresholds=(KEPT,), extractor=RoomFeatures())
    splits = {split: _batch(name, split) for split in SIZES}
    return Task(name, MODALITIES[name], problem, splits, note, report_groups=GROUPS)


@cache
def _batch(name: str, split: str) -> Batch:
    rooms, seen = painted(split)
    inputs = {
        each.name: torch.tensor(getattr(seen, each.name)).clamp(float(each.low), float(each.high))
        for each in MODALITIES[name]
    }
    samples = tuple(f"{name}-{split}-{row:04d}" for row in range(len(rooms)))
    groups = tuple(GROUPS[int(camouflaged)] for camouflaged in rooms.camouflaged)
    return Batch(samples, inputs, torch.tensor(seen.rgb).clamp(0, 1), groups)


def painted(split: str) -> tuple[Rooms, Views]:
    """The rooms of a split of `rooms`, in the order of its samples, in colours that tell what they
    are, and what they look like without noise.
    """
    rooms = planned(SIZES[split], np.random.RandomState(SEEDS[split]))
    colours = OWN * rooms.materials.colours + np.float32(1 - OWN) * PALETTE[:, None]
    rooms = replace(rooms, materials=replace(rooms.materials, colours=colours.astype(np.float32)))
    return rooms, rendered(rooms)
