"""EPIC-Kitchens: which action, a verb and a noun, is seen from the wearer's head (Damen et al.,
ECCV 2018).

Layout of the folder `epic-kitchens`: ``arrays.npz`` with
{train,valid,test}_{visual,motion,audio,verb,noun}, or a CSV of each such name: features (N, D) or
(N, T, D) of RGB frames, optical flow and sound, made by any network, and class numbers from 0, one
per sample. The labels of the official test set are not public: papers cut the validation set, or
the training set by kitchen; keep a video, and where that is the question a kitchen, on one side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.errors import BadInput
from harness.tasks.datasets.features import feature_task
from harness.tasks.files.arrayfiles import one_per_row, split_arrays
from harness.tasks.problems.heads import Heads
from harness.tasks.task import SPLITS, Task

BALLS = {"visual": "linf:0.1", "motion": "linf:0.1", "audio": "linf:0.1"}
HEADS = ("verb", "noun")
LARGEST = 2**31  # more classes are a mistake
NOTE = "radii are in standard deviations of training; a sample withstands when verb and noun are both right"


def epic_kitchens() -> Task:
    """Verb and noun of an action in a kitchen (EPIC-Kitchens), from your visual, motion and audio
    features.

    Models answer the logits of the verbs, then of the nouns; there are as many of each as the
    labels of all splits name. Metrics: top-1 of verb, noun and action (both right). Features are
    standardised on train, their range is that of all splits.

    Raises:
        NoData: an array is not there.
        BadInput: an array cannot be used.
    """
    arrays = split_arrays("epic-kitchens", (*BALLS, *HEADS))
    labels = {
        split: [_classes(f"the {split} labels of {head}", arrays[split][head]) for head in HEADS] for split in SPLITS
    }
    verbs, nouns = (1 + max(int(labels[split][head].max(initial=0)) for split in SPLITS) for head in range(2))
    problem = Heads(HEADS, (verbs, nouns), "action")
    targets = {split: problem.join([torch.tensor(each) for each in labels[split]]).numpy() for split in SPLITS}
    return feature_task("epic-kitchens", arrays, BALLS, targets, problem, note=NOTE)


def _classes(where: str, values: NDArray[Any]) -> NDArray[Any]:
    numbers = one_per_row(where, values)
    if not ((numbers >= 0) & (numbers < LARGEST) & (numbers == np.floor(numbers))).all():
        raise BadInput(f"{where} must be class numbers from 0, they reach from {numbers.min():g} to {numbers.max():g}")
    return numbers.astype(np.int64)
