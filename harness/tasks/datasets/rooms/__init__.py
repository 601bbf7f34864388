"""The embedded task with a map as its answer: rooms seen by a camera and a depth sensor.

Data card. 1,400 train, 200 val and 400 test rooms from three frozen seeds, 48×48 pixels, rendered
by our own ray caster in about 7 s on one core. A lamp lights the room and solids cast shadows.

- Of the test pixels 39 % are wall, 20 % floor, 14 % ceiling, 7 % box, 7 % pillar, 5 % ball, 3 %
  poster and 2 % door; 4 % lie at the edge of a solid and are ignored (255).
- Only depth shows camouflaged solids: in every second room pillars, boxes and balls have the
  texture of the walls or of the floor, without a visible edge.
- Only colour shows posters and doors, which have no depth. Seven in ten posters are painted like a
  lit ball or like a box with two faces, so that colour alone confuses them with the solids.
- `rgb` has a random exposure and noise of 10 of 255. `depth` has noise of 1 cm plus 0.5 cm per m²
  (14 cm at 5 m) and 10 % holes, which hold 0: round spots, single pixels, and half of the pixels on
  surfaces that are seen at less than 12°.

Test results of the same network trained on each input, by ``train --task rooms --model segmenter``,
``segmenter-rgb`` and ``segmenter-depth`` with seed 0:

| inputs | mIoU | pixel accuracy | IoU of box, ball, pillar | of poster, door |
|---|---|---|---|---|
| rgb | .664 | .865 | .41, .60, .61 | .45, .65 |
| depth | .610 | .896 | .64, .66, .85 | .00, .00 |
| both | .827 | .948 | .74, .77, .89 | .59, .77 |
"""

from __future__ import annotations

import numpy as np
import torch

from harness.tasks.batch import Batch
from harness.tasks.datasets.rooms.plan import CLASSES, GROUPS, planned
from harness.tasks.datasets.rooms.render import SIDE, rendered
from harness.tasks.datasets.rooms.sensors import FARTHEST, IGNORED, labelled, measured, photographed
from harness.tasks.modality import Modality
from harness.tasks.problems.segmentation import Segmentation
from harness.tasks.task import Task

SEEDS = {"train": 20_264, "val": 20_265, "test": 20_266}
SIZES = {"train": 1_400, "val": 200, "test": 400}
MODALITIES = (
    Modality("rgb", (3, SIDE, SIDE), "image", 0.0, 255.0, 127.5, "linf:8"),
    Modality("depth", (1, SIDE, SIDE), "image", 0.0, FARTHEST, 0.0, "linf:0.1"),
)
NOTE = "rgb from 0 to 255, depth in metres from 0 to 6, where 0 is a hole; pixels at the edges of solids do not count"


def rooms() -> Task:
    """Which of 8 classes is every pixel? Rendered rooms as a colour image and as noisy depth.

    1,400 train, 200 val and 400 test rooms, rendered from seeds by our own ray caster: 48×48 pixels
    of a floor, a ceiling, walls, pillars, boxes, balls, posters and doors.
    """
    splits = {split: _batch(split) for split in SIZES}
    problem = Segmentation(len(CLASSES), (SIDE, SIDE), IGNORED, CLASSES)
    return Task("rooms", MODALITIES, problem, splits, NOTE, report_groups=GROUPS)


def _batch(split: str) -> Batch:
    rng = np.random.RandomState(SEEDS[split])  # the one generator whose stream is promised never to change
    each = planned(SIZES[split], rng)
    seen = rendered(each)
    inputs = {"rgb": torch.tensor(photographed(seen, rng)), "depth": torch.tensor(measured(seen, rng))}
    samples = tuple(f"rooms-{split}-{row:04d}" for row in range(len(each)))
    groups = tuple(GROUPS[int(camouflaged)] for camouflaged in each.camouflaged)
    return Batch(samples, inputs, torch.tensor(labelled(seen)), groups)
