"""The embedded task: a digit seen, heard and read (see the data card beside this file)."""

from __future__ import annotations

import csv
import json
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from harness.tasks.batch import Batch
from harness.tasks.datasets.digits.degrade import degraded_audio, degraded_image, misspelt
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Classification
from harness.tasks.task import Task

SEED = 20_26
ALPHABET = " abcdefghijklmnopqrstuvwxyz"  # position 0 is the blank that pads
LETTERS = 12
PIXELS = 16.0
SAMPLE_RATE = 8_000
CLIP_SECONDS = 0.5
IMAGES = {"train": 1_000, "val": 297, "test": 500}  # of scikit-learn's 1,797, by a frozen shuffle
PAIRINGS = {"train": 4, "val": 1, "test": 1}  # how often each image is paired anew
WORD_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
NOTE = "text is attacked letter by letter: at strength 1, tokens:1 changes one of the 12 characters, blanks among them"


def digits() -> Task:
    """Ten digits as handwriting (8×8, 0-16), speech (0.5 s at 8 kHz) and misspelt names in 103
    languages.
    """
    modalities = (
        Modality("image", (1, 8, 8), "image", 0.0, PIXELS, 0.0, "linf:1.6"),
        Modality("audio", (int(CLIP_SECONDS * SAMPLE_RATE),), "audio", -1.0, 1.0, 0.0, "linf:0.005", SAMPLE_RATE),
        Modality(
            "text", (LETTERS, len(ALPHABET)), "text", 0.0, 1.0, one_hot([""])[0], "tokens:1", tokens=tuple(ALPHABET)
        ),
    )
    rng = np.random.RandomState(SEED)  # the one generator of NumPy whose stream is promised never to change
    images, words = _images(rng), _words(rng)
    splits = {split: _paired(split, images[split], _clips(split), words[split], rng) for split in IMAGES}
    return Task("digits", modalities, Classification(10), splits, NOTE)


def one_hot(words: list[str]) -> Tensor:
    """Lower-case words as one-hot matrices (N, LETTERS, alphabet), cut and padded with blanks."""
    indices = [[ALPHABET.index(letter) for letter in word[:LETTERS].ljust(LETTERS)] for word in words]
    return torch.nn.functional.one_hot(torch.tensor(indices), len(ALPHABET)).float()


def _images(rng: np.random.RandomState) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    from sklearn.datasets import load_digits  # a second to import: only when the task is built

    pixels, labels = load_digits(return_X_y=True)
    order, start, dealt = rng.permutation(len(labels)), 0, {}
    for split, count in IMAGES.items():
        rows, start = order[start : start + count], start + count
        dealt[split] = (pixels[rows].reshape(-1, 8, 8), labels[rows])
    return dealt


def _clips(split: str) -> dict[int, tuple[np.ndarray, list[str]]]:
    """For each digit, the clips of a split (n, T) and their voices."""
    import soundfile

    folder = files(__package__) / "data"
    index = json.loads((folder / "clips.json").read_text("utf-8"))[split]
    with (folder / f"{split}.flac").open("rb") as file:
        waves = soundfile.read(file)[0].reshape(len(index), -1)
    digits = np.array([clip["digit"] for clip in index])
    voices = [clip["voice"] for clip in index]
    return {d: (waves[digits == d], [voices[row] for row in np.flatnonzero(digits == d)]) for d in range(10)}


def _words(rng: np.random.RandomState) -> dict[str, dict[int, list[str]]]:
    """For each split and digit, the spellings; a spelling belongs to one split, whichever languages
    share it.
    """
    lines = (files(__package__) / "data" / "names.tsv").read_text("utf-8").splitlines()
    table = {language: names.split() for language, names in csv.reader(lines, delimiter="\t")}
    spellings = sorted({word for names in table.values() for word in names})
    dealt = dict(
        zip(spellings, rng.choice(list(WORD_SHARES), len(spellings), p=list(WORD_SHARES.values())), strict=True)
    )
    return {
        split: {d: sorted({names[d] for names in table.values() if dealt[names[d]] == split}) for d in range(10)}
        for split in WORD_SHARES
    }


def _paired(
    split: str,
    images: tuple[np.ndarray, np.ndarray],
    clips: dict[int, tuple[np.ndarray, list[str]]],
    words: dict[int, list[str]],
    rng: np.random.RandomState,
) -> Batch:
    """Every image with a clip and a word of its digit, each degraded anew."""
    pixels, labels = (np.repeat(part, PAIRINGS[split], axis=0) for part in images)
    pictures, sounds, texts, voices = [], [], [], []
    for picture, label in zip(pixels, labels, strict=True):
        waves, names = clips[label]
        clip = rng.randint(len(waves))
        pictures.append(degraded_image(picture, rng))
        sounds.append(degraded_audio(waves[clip], rng))
        texts.append(misspelt(words[label][rng.randint(len(words[label]))], rng))
        voices.append(names[clip])
    inputs = {
        "image": torch.tensor(np.stack(pictures), dtype=torch.float32)[:, None],
        "audio": torch.tensor(np.stack(sounds), dtype=torch.float32),
        "text": one_hot(texts),
    }
    samples = tuple(f"{split}-{row:04d}" for row in range(len(labels)))
    return Batch(samples, inputs, torch.tensor(labels, dtype=torch.int64), tuple(voices))
