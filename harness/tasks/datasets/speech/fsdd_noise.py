"""Real speech in real noise: strings of digits of the Free Spoken Digit Dataset.

Layout of the data folder: ``fsdd/recordings`` as published; ``noise`` with four recordings of 16
kHz from Google Speech Commands (CC BY 4.0). No speaker and no recording of noise is in two splits.

The mouth is drawn from the clean sound: its numbers say nothing of real faces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import BadInput
from harness.tasks.batch import Batch
from harness.tasks.datasets.fsdd import SPEAKERS, TAKES
from harness.tasks.datasets.speech.mixing import LENGTH, RATE, strings, trimmed
from harness.tasks.datasets.speech.strings import NOTE, speech_task, spoken
from harness.tasks.files.dataroot import data_path
from harness.tasks.files.sounds import read_sound
from harness.tasks.task import Task

Array = NDArray[Any]

SEEDS = {"train": 20_304, "val": 20_305, "test": 20_306}
SIZES = {"train": 900, "val": 150, "test": 300}
SIDES = {"train": SPEAKERS[:3], "val": SPEAKERS[3:4], "test": SPEAKERS[4:]}
NOISES = {"train": ("doing_the_dishes", "exercise_bike"), "val": ("dude_miaowing",), "test": ("running_tap",)}
NOISE_RATE = 16_000


def fsdd_noise() -> Task:
    """The clean sound of real digits in real noise, from the sound and a drawn mouth.

    900 train, 150 val and 300 test strings; three speakers train, one validates, two test.

    Raises:
        NoData: a recording is not there.
        BadInput: it cannot be read as one channel of 8 kHz, or of 16 kHz the noise.
    """
    return speech_task("fsdd-noise", {split: _batch(split) for split in SIZES}, NOTE)


def _batch(split: str) -> Batch:
    count, rng = SIZES[split], np.random.RandomState(SEEDS[split])
    clean, speakers = strings({name: _recordings(name) for name in SIDES[split]}, count, rng)
    return spoken(f"fsdd-noise-{split}", clean, noise_of(split, count, LENGTH, rng), rng, speakers)


def _recordings(speaker: str) -> list[Array]:
    names = [f"{digit}_{speaker}_{take}" for digit in range(10) for take in range(TAKES)]
    return [trimmed(read_sound(data_path("fsdd", f"recordings/{name}.wav"), RATE)) for name in names]


def noise_of(split: str, count: int, length: int, rng: np.random.RandomState) -> Array:
    """Parts of the split's recordings of noise, (count, length), at 8 kHz.

    Raises:
        NoData: a recording is not there.
        BadInput: it cannot be read, or is shorter.
    """
    from scipy.signal import resample_poly

    held = {
        name: resample_poly(read_sound(data_path("noise", f"{name}.wav"), NOISE_RATE), 1, NOISE_RATE // RATE)
        for name in NOISES[split]
    }
    if short := [name for name, wave in held.items() if len(wave) < length]:
        raise BadInput(f"noise {short[0]}.wav lasts less than {length / RATE:g} s: fetch it again")
    chosen = [held[NOISES[split][rng.randint(len(held))]] for _ in range(count)]
    starts = [rng.randint(len(each) - length + 1) for each in chosen]
    return np.stack([each[start : start + length] for each, start in zip(chosen, starts, strict=True)])
