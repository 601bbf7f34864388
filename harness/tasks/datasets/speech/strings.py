"""The embedded task of speech: which clean sound lies behind the noise?

Data card. 900 train, 150 val and 300 test strings of three or four digits, two seconds at 8 kHz,
from the synthetic voices of `digits`; no voice is in two splits.

- `audio` is the string in noise: babble of four strings of other voices, or coloured noise, at 0, 5
  or 10 dB.
- `video` is a drawn mouth, 50 frames of 16×24 pixels: it opens with the loudness of the clean
  string and rounds with its low frequencies. It is no recording of a face.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.tasks.batch import Batch
from harness.tasks.datasets.speech.mixing import (
    FILMED,
    HEIGHT,
    LENGTH,
    RATE,
    RATIOS,
    WIDTH,
    coloured,
    mixed,
    mouths,
    strings,
    trimmed,
)
from harness.tasks.modality import Modality
from harness.tasks.problems.enhancement import Enhancement
from harness.tasks.task import Task

Array = NDArray[Any]

SEEDS = {"train": 20_294, "val": 20_295, "test": 20_296}
SIZES = {"train": 900, "val": 150, "test": 300}
VOICES = 4  # that babble
BEST = 20.0  # dB of improvement that have the score 1
GROUPS = tuple(f"{ratio} dB" for ratio in RATIOS)
NOTE = "the mouth is drawn from the clean sound, it is no recording of a face"


def speech() -> Task:
    """The clean sound of digits spoken in noise, from the sound and a drawn mouth.

    900 train, 150 val and 300 test strings, made from seeds.
    """
    return speech_task("speech", {split: _batch(split) for split in SIZES}, NOTE)


def speech_task(name: str, splits: dict[str, Batch], note: str) -> Task:
    """A task of two seconds of sound and the mouth that makes it."""
    modalities = (
        Modality("audio", (LENGTH,), "audio", -1.0, 1.0, 0.0, "linf:0.005", RATE),
        Modality("video", (1, FILMED, HEIGHT, WIDTH), "video", 0.0, 1.0, 0.5, "linf:0.05"),
    )
    return Task(name, modalities, Enhancement(LENGTH, BEST, RATE), splits, note, report_groups=GROUPS)


def spoken(name: str, clean: Array, noise: Array, rng: np.random.RandomState, sources: list[str]) -> Batch:
    """Samples of clean strings (S, T) in noise at random ratios, and their mouths."""
    ratios = rng.choice(RATIOS, len(clean))
    noisy = mixed(clean, noise, ratios)
    sounds = {"clean": clean, "noisy": noisy}
    held = {key: torch.tensor(np.rint(32767 * wave) / 32767, dtype=torch.float32) for key, wave in sounds.items()}
    inputs = {"audio": held["noisy"], "video": torch.tensor(mouths(clean, rng))}
    samples = tuple(f"{name}-{row:04d}" for row in range(len(clean)))
    groups = tuple(f"{ratio} dB" for ratio in ratios)
    return Batch(samples, inputs, torch.stack([held["clean"], held["noisy"]], 1), groups, sources=tuple(sources))


def _batch(split: str) -> Batch:
    count, rng, clips = SIZES[split], np.random.RandomState(SEEDS[split]), _clips(split)
    clean, speakers = strings(clips, count, rng)
    babble = sum(strings(clips, count, rng)[0] for _ in range(VOICES))
    noise = np.where(rng.rand(count, 1) < 0.5, babble, coloured(count, rng))
    return spoken(f"speech-{split}", clean, noise, rng, speakers)


@cache
def _clips(split: str) -> dict[str, list[Array]]:
    """By voice, the clips of a split of `digits` without the silence around them."""
    import soundfile

    folder = files("harness.tasks.datasets.digits") / "data"
    index = json.loads((folder / "clips.json").read_text("utf-8"))[split]
    with (folder / f"{split}.flac").open("rb") as file:
        waves = soundfile.read(file)[0].reshape(len(index), -1)
    found: dict[str, list[Array]] = {}
    for clip, wave in zip(index, waves, strict=True):
        found.setdefault(clip["voice"], []).append(trimmed(wave))
    return found
