"""GRID: sentences of a command grammar, a speaker's face and the sound (Cooke et al., JASA 2006; CC
BY 4.0).

Layout of the folder: films as published, MPEG-1 of 25 frames a second and about three seconds, in
one folder for each speaker, ``s1/bbaf2n.mpg``; films that lie in the folder itself count as one
speaker each. Noise comes from the folder ``noise`` (see `fsdd_noise`).

Speakers sit still, so the mouth is a fixed part of the picture. A few films, as in a sample of the
data, are enough to read and to evaluate, not to train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.errors import BadInput
from harness.tasks.batch import Batch
from harness.tasks.datasets.speech.fsdd_noise import noise_of
from harness.tasks.datasets.speech.mixing import HEIGHT, RATE, RATIOS, WIDTH, mixed
from harness.tasks.datasets.speech.strings import BEST, GROUPS
from harness.tasks.files.dataroot import NoData, data_path, mend
from harness.tasks.files.films import read_frames, read_track
from harness.tasks.modality import Modality
from harness.tasks.problems.enhancement import Enhancement
from harness.tasks.task import Task

Array = NDArray[Any]

FRAMES = 75  # of a film
LENGTH = 3 * RATE
MOUTH = (0.38, 0.62, 0.62, 0.82)  # left, top, right and bottom, as shares of the picture
SEED = 20_314
PARTS = ("test", "val", "train", "train")  # of every four speakers in the order of their names


def grid() -> Task:
    """The clean sound of sentences in noise, from the sound and the speaker's mouth (GRID).

    One of every four speakers, in the order of their names, tests, one validates and two train.

    Raises:
        NoData: the folder holds no film, or there is no noise.
        BadInput: PyAV is not installed, a film cannot be read, or there are fewer than three
            speakers.
    """
    folder = data_path("grid", ".")
    films = sorted(folder.rglob("*.mpg"))
    if not films:
        raise NoData(f"{folder} holds no film such as s1/bbaf2n.mpg: {mend('grid', str(folder.parent))}")
    speakers = {film: film.parent.name if film.parent != folder else film.stem for film in films}
    names = sorted(set(speakers.values()))
    if len(names) < 3:
        raise BadInput(f"{folder} has films of {len(names)} speakers: give three or more, for train, val and test")
    side = {name: PARTS[place % len(PARTS)] for place, name in enumerate(names)}
    modalities = (
        Modality("audio", (LENGTH,), "audio", -1.0, 1.0, 0.0, "linf:0.005", RATE),
        Modality("video", (3, FRAMES, HEIGHT, WIDTH), "video", 0.0, 1.0, 0.5, "linf:0.03"),
    )
    splits = {
        split: _batch(split, {film: speaker for film, speaker in speakers.items() if side[speaker] == split})
        for split in ("train", "val", "test")
    }
    return Task("grid", modalities, Enhancement(LENGTH, BEST, RATE), splits, "noise is added", report_groups=GROUPS)


def _batch(split: str, films: dict[Path, str]) -> Batch:
    rng = np.random.RandomState(SEED)
    clean = np.stack([_fitted(read_track(film, RATE)) for film in films])
    ratios = rng.choice(RATIOS, len(films))
    noisy = mixed(clean, noise_of(split, len(films), LENGTH, rng), ratios)
    mouths = np.stack([read_frames(film, FRAMES, (HEIGHT, WIDTH), MOUTH) for film in films])
    held = [torch.tensor(wave, dtype=torch.float32) for wave in (clean, noisy)]
    inputs = {"audio": held[1], "video": torch.tensor(np.moveaxis(mouths, 2, 1))}
    samples = tuple(f"{speaker}/{film.stem}" for film, speaker in films.items())
    groups = tuple(f"{ratio} dB" for ratio in ratios)
    return Batch(samples, inputs, torch.stack(held, 1), groups, sources=tuple(films.values()))


def _fitted(wave: Array) -> Array:
    """Three seconds: cut, or zeros at the end."""
    found = np.zeros(LENGTH, np.float32)
    found[: min(LENGTH, len(wave))] = wave[:LENGTH]
    return found
