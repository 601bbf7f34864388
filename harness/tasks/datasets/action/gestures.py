"""The embedded task of actions: what does a person's right hand do, and does it hold a ball?

Data card. 1,200 train, 200 val and 400 test gestures from three frozen seeds; every gesture has a
body of its own: limbs of .85 to 1.15 times the usual length, turned by up to 20° to either side,
at 1.8 to 3.5 m. Four movements of the right hand, with a speed, a size and a start of their own:
sideways, forwards, in a circle across the body, and up and down. In every second gesture the hand
holds a ball: eight classes.

- `skeleton` has 32 frames of 20 joints in metres with noise of 1.5 cm. It does not know the ball.
- `video` has 8 frames of 32×32 grey pixels, drawn from the skeleton by a camera that stands beside
  the person, with a post before the body and grain. Seen from there, the hand that moves sideways
  stands still, and the circle looks as up and down does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.tasks.batch import Batch
from harness.tasks.datasets.action.skeletons import FILMED, FRAMES, JOINTS, NAMES, SIDE, filmed, noisy
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Classification
from harness.tasks.task import Task

Array = NDArray[Any]

SEEDS = {"train": 20_284, "val": 20_285, "test": 20_286}
SIZES = {"train": 1_200, "val": 200, "test": 400}
MOVEMENTS = ("sideways", "forwards", "circle", "up and down")
CLASSES = tuple(f"{movement}{ball}" for movement in MOVEMENTS for ball in ("", ", ball"))
REST = np.array(  # joints of a standing person in metres: right, up and away from the camera, waist at 0
    [
        [0.00, 0.00, 0.00], [0.00, 0.20, 0.00], [0.00, 0.45, 0.00], [0.00, 0.68, -0.02],
        [-0.18, 0.40, 0.00], [-0.24, 0.14, 0.02], [-0.26, -0.12, -0.04], [-0.26, -0.19, -0.05],
        [0.18, 0.40, 0.00], [0.24, 0.14, 0.02], [0.26, -0.12, -0.04], [0.26, -0.19, -0.05],
        [-0.10, -0.08, 0.00], [-0.11, -0.50, -0.01], [-0.12, -0.90, 0.03], [-0.12, -0.94, -0.10],
        [0.10, -0.08, 0.00], [0.11, -0.50, -0.01], [0.12, -0.90, 0.03], [0.12, -0.94, -0.10],
    ]
)  # fmt: skip
UPPER, LOWER, PALM = 0.27, 0.27, 0.07  # lengths of an arm's bones in metres
NOISE = 0.015  # metres, of every coordinate of a joint
LIMBS, TURNED, AWAY = (0.85, 1.15), np.radians(20), (1.8, 3.5)
CYCLES, SIZE = (1.0, 2.5), (0.12, 0.22)  # of a movement: how often, and how far in metres
CAMERA, SWAYS, TILT = np.radians(90), np.radians(10), np.radians(10)  # of the film
GRAIN, WIDEST_POST = 0.06, 6
FAR = 5.0  # metres: coordinates lie between it and its negative
NOTE = "skeleton in metres, the film is drawn from the skeleton by another camera"
SHOULDER, ELBOW, WRIST, HAND = (NAMES.index(f"right {each}") for each in ("shoulder", "elbow", "wrist", "hand"))


def gestures() -> Task:
    """Which of four movements does a hand make, with or without a ball? A skeleton and a film.

    1,200 train, 200 val and 400 test gestures, made from seeds.
    """
    modalities = (
        Modality("skeleton", (3, FRAMES, JOINTS, 1), "features", -FAR, FAR, 0.0, "linf:0.02"),
        Modality("video", (1, FILMED, SIDE, SIDE), "video", 0.0, 1.0, 0.5, "linf:0.03"),
    )
    splits = {split: _batch(split) for split in SIZES}
    return Task("gestures", modalities, Classification(len(CLASSES)), splits, NOTE)


def _batch(split: str) -> Batch:
    count, rng = SIZES[split], np.random.RandomState(SEEDS[split])
    kinds, held = rng.randint(len(MOVEMENTS), size=count), rng.rand(count) < 0.5
    bodies = _moved(kinds, rng)
    side = np.where(rng.rand(count) < 0.5, 1, -1)
    turn = side * CAMERA + rng.uniform(-SWAYS, SWAYS, count)
    films = filmed(bodies[:, :: FRAMES // FILMED], turn, rng.uniform(0, TILT, count), held)
    seen = np.round(bodies + NOISE * rng.normal(size=bodies.shape), 3)  # millimetres, on every machine the same
    inputs = {
        "skeleton": torch.tensor(np.moveaxis(seen, -1, 1)[..., None].astype(np.float32)),
        "video": torch.tensor(noisy(films, rng, GRAIN, WIDEST_POST)),
    }
    samples = tuple(f"gestures-{split}-{row:04d}" for row in range(count))
    groups = tuple(MOVEMENTS[kind] for kind in kinds)
    return Batch(samples, inputs, torch.tensor(2 * kinds + held), groups)


def _moved(kinds: Array, rng: np.random.RandomState) -> Array:
    """Bodies (S, 32, 20, 3) whose right hand moves, before the first camera."""
    count = len(kinds)
    bodies = np.broadcast_to(REST, (count, FRAMES, JOINTS, 3)).copy()
    bodies[..., (SHOULDER, ELBOW, WRIST, HAND), :] = _arm(_path(kinds, rng))
    scale = rng.uniform(*LIMBS, count)[:, None, None, None]
    turn = rng.uniform(-TURNED, TURNED, count)[:, None, None]
    across, up, away = np.moveaxis(scale * bodies, -1, 0)
    place = np.stack([rng.uniform(-0.5, 0.5, count), rng.uniform(-0.1, 0.1, count), rng.uniform(*AWAY, count)], -1)
    turned = (np.cos(turn) * across + np.sin(turn) * away, up, np.cos(turn) * away - np.sin(turn) * across)
    moved: Array = np.stack(turned, -1) + place[:, None, None]
    return moved


def _path(kinds: Array, rng: np.random.RandomState) -> Array:
    """The wrist (S, 32, 3) relative to the shoulder."""
    count = len(kinds)
    angle = 2 * np.pi * (rng.rand(count, 1) + rng.uniform(*CYCLES, (count, 1)) * np.linspace(0, 1, FRAMES))
    wave, turn, still = np.sin(angle), np.cos(angle), np.zeros_like(angle)
    each = np.stack(
        [
            np.stack([wave, still, still], -1),
            np.stack([still, still, wave], -1),
            np.stack([turn, wave, still], -1),
            np.stack([still, wave, still], -1),
        ]
    )
    size = rng.uniform(*SIZE, (count, 1, 1))
    middle = np.stack(
        [rng.uniform(-0.12, 0.02, count), rng.uniform(-0.12, 0.08, count), rng.uniform(-0.34, -0.26, count)], -1
    )
    path: Array = middle[:, None] + size * each[kinds, np.arange(count)]
    return path


def _arm(wrist: Array) -> Array:
    """Shoulder, elbow, wrist and hand (S, 32, 4, 3) of a right arm whose wrist is at a place
    relative to the shoulder, or as near to it as the arm reaches; the elbow hangs.
    """
    far = np.linalg.norm(wrist, axis=-1, keepdims=True)
    reach = np.minimum(far, 0.98 * (UPPER + LOWER))
    along = wrist / np.maximum(far, 1e-6)
    wrist = along * reach
    part = (reach**2 + UPPER**2 - LOWER**2) / (2 * np.maximum(reach, 1e-6))
    down = np.array([-0.3, -1.0, 0.0]) - along * (along @ np.array([-0.3, -1.0, 0.0]))[..., None]
    down /= np.maximum(np.linalg.norm(down, axis=-1, keepdims=True), 1e-6)
    elbow = along * part + down * np.sqrt(np.maximum(UPPER**2 - part**2, 0))
    lower = (wrist - elbow) / np.maximum(np.linalg.norm(wrist - elbow, axis=-1, keepdims=True), 1e-6)
    parts: Array = REST[SHOULDER] + np.stack([np.zeros_like(wrist), elbow, wrist, wrist + PALM * lower], -2)
    return parts
