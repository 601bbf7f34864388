"""avMNIST: a digit seen (MNIST) and heard (FSDD), paired by label; the pairs are frozen in
data/*.tsv.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from operator import attrgetter

import numpy as np
import torch

from attacks.errors import BadInput
from harness.tasks.batch import Batch
from harness.tasks.datasets.fsdd import SAMPLE_RATE, waveforms
from harness.tasks.datasets.mnist import SIDE, mnist
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Classification
from harness.tasks.task import Task

CLIP = 6_400  # 0.8 s: all of 98 in 100 recordings
NOTE = "what pads a recording to 0.8 s is never attacked"


@dataclass(frozen=True)
class Pair:
    """An image and a recording of one digit; `rank` counts the images of that digit in MNIST's file
    from 0.
    """

    split: str
    recording: str
    rank: int

    @property
    def digit(self) -> int:
        return int(self.recording.partition("_")[0])

    @property
    def speaker(self) -> str:
        return self.recording.split("_")[1]


def avmnist() -> Task:
    """MNIST digits with spoken ones (0.8 s at 8 kHz), six speakers; 4,800 train, 600 val, 1,500
    test pairs.

    Test is FSDD's own split, recordings with an index below 5, each with five images of MNIST's
    test set; validation those with an index from 5 to 9, each with two of its training set, like
    training's. No image is used twice, no recording stands on both sides, all speakers on each.
    Groups are speakers. The pairs depend on the training file: the 60,000 official images give
    others than the 10,000 of train10k.

    Raises:
        NoData: MNIST or FSDD is not in the data root.
        BadInput: one of their files is damaged.
    """
    return _task("avmnist")


def avmnist_smil() -> Task:
    """avMNIST in the split of SMIL: jackson, nicolas and theo; 1,050 train, 450 val, 450 test
    pairs.

    The split of sound of Ma et al. (SMIL, AAAI 2021): of each digit and speaker the recordings with
    an index below 15 are test, the other 35 training, one image to each. So that training keeps all
    its 1,050 pairs, validation is the first 15 recordings of the three *other* speakers, with
    further training images: its voices are new, so its scores are below those of test, but they
        still rank epochs.

    Raises:
        NoData: MNIST or FSDD is not in the data root.
        BadInput: one of their files is damaged.
    """
    return _task("avmnist-smil")


def manifest(name: str) -> list[Pair]:
    """The frozen pairs of a task, split by split."""
    lines = (files(__package__) / "data" / f"{name}.tsv").read_text("utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return [Pair(split, recording, int(rank)) for split, recording, ranks in rows for rank in ranks.split(",")]


def _task(name: str) -> Task:
    modalities = (
        Modality("image", (1, SIDE, SIDE), "image", 0.0, 255.0, 0.0, "linf:51"),
        Modality("audio", (CLIP,), "audio", -1.0, 1.0, 0.0, "linf:0.005", SAMPLE_RATE),
    )
    splits = {split: _batch(split, list(pairs)) for split, pairs in groupby(manifest(name), attrgetter("split"))}
    return Task(name, modalities, Classification(10), splits, NOTE)


def _batch(split: str, pairs: list[Pair]) -> Batch:
    images, labels = mnist("test" if split == "test" else "train")
    rows = {digit: np.flatnonzero(labels == digit) for digit in range(10)}
    if short := [pair.digit for pair in pairs if pair.rank >= len(rows[pair.digit])]:
        raise BadInput(
            f"MNIST's {split} file has only {len(rows[short[0]])} images of digit {short[0]}: it is not the"
            " published file"
        )
    waves, real = waveforms([pair.recording for pair in pairs], CLIP)
    inputs = {
        "image": torch.tensor(images[[rows[pair.digit][pair.rank] for pair in pairs]], dtype=torch.float32)[:, None],
        "audio": torch.tensor(waves),
    }
    samples = tuple(f"{pair.recording}+{pair.rank:03d}" for pair in pairs)
    targets = torch.tensor([pair.digit for pair in pairs])
    speakers, recordings = tuple(pair.speaker for pair in pairs), tuple(pair.recording for pair in pairs)
    return Batch(samples, inputs, targets, speakers, {"audio": torch.tensor(real)}, sources=recordings)
