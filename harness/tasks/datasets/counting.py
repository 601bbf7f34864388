"""Counting in rendered scenes: simple and complex questions, as TallyQA (Acharya et al., AAAI 2019)
separates them.
"""

from __future__ import annotations

import numpy as np
import torch

from harness.tasks.batch import Batch
from harness.tasks.datasets.scenes.batch import GIVEN, MODALITIES, NOTE, Asked, asked, split_of
from harness.tasks.datasets.scenes.plan import OBJECTS
from harness.tasks.datasets.scenes.questions import complex_, simple
from harness.tasks.problems.counts import Counting
from harness.tasks.task import Task

SEEDS = {"train": 20_261, "val": 20_262, "test": 20_263}
SIZES = {"train": 4_000, "val": 480, "test": 960}  # half simple, half complex, of each as many of every count
GROUPS = ("simple", "complex")


def counting(tolerance: int = 0) -> Task:
    """How many? Rendered scenes (3, 64, 64), 0 to 255, of up to 15 objects and a star, with a
    question in up to 13 words.

    4,000 train, 480 val and 960 test scenes, made from a seed. Objects are of 4 shapes, 6 colours,
    2 sizes and 2 textures; they overlap and lie among clutter. Simple questions ask for a shape, a
    colour or both ("how many red circles are there"); complex ones for two or more attributes as
    well, a half of the image, a relation to the star, or how many more there are on one side.
    Groups are simple and complex; in each, and in every split, each count from 0 to 15 is the
    answer equally often, so the question alone gives no information.

    Words have synonyms, drawn at random; an attack on the question may only replace a word by a
    synonym.

    The input `boxes` (24, 5) holds object proposals as a detector gives them, with jitter, misses,
    copies and mistakes: left, top, right, bottom as shares of the image, and a score; the surest
    first, filled with zeros. It is an input that models of regions read from ``inputs["boxes"]``,
    but not a modality: it is never attacked and never missing, because a detector makes a discrete
        choice, which stays the same while the pixels change. A model whose proposals should change,
        too, computes its own from the image.

    Args:
        tolerance: a sample fails when its count is off by more; the score is exact accuracy in any
            case.
    """
    splits = {split: _split(split) for split in SIZES}
    return Task("counting", MODALITIES, Counting(OBJECTS, tolerance), splits, NOTE, GIVEN, GROUPS)


def scenes_of(split: str, rng: np.random.RandomState | None = None) -> Asked:
    """The scenes, questions and counts of a split, before they are drawn."""
    # the one generator of NumPy whose stream is promised never to change
    rng = rng or np.random.RandomState(SEEDS[split])
    half = SIZES[split] // 2
    kinds = [simple] * half + [complex_] * half
    counts = [row % (OBJECTS + 1) for row in range(half)] * 2
    order = rng.permutation(len(kinds))
    return asked([kinds[row](rng) for row in order], [counts[row] for row in order], rng)


def _split(split: str) -> Batch:
    rng = np.random.RandomState(SEEDS[split])
    each = scenes_of(split, rng)
    return split_of("counting", split, each, torch.tensor(each.counts), rng)
