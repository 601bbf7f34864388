"""Sentiment in [-3, 3] from sequences of words, sounds and faces: CMU-MOSEI (Zadeh et al., ACL
2018) and CMU-MOSI.

Layout of the folder `mosei` or `mosi-regression`: ``arrays.npz`` with
{train,valid,test}_{text,audio,vision,labels}, or a CSV of each such name. Features are (N, T,
D), or (N, D) as in a CSV; steps that hold only zeros before the first other or after the last
are padding. Labels are one number per sample. The usual pickles are turned into that, where they
come from a source you trust, by::

    data = pickle.load(open("aligned_50.pkl", "rb"))
    names = {"text": "text", "audio": "audio", "vision": "vision", "regression_labels": "labels"}
    arrays = {}
    for split in ("train", "valid", "test"):
        for key, name in names.items():  # some files call the labels "labels"
            values = np.asarray(data[split][key], "float32")
            arrays[f"{split}_{name}"] = np.nan_to_num(values, neginf=0, posinf=0)
    np.savez("arrays.npz", **arrays)

(COVAREP's -inf become 0, as is usual.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.errors import BadInput
from harness.tasks.datasets.features import feature_task
from harness.tasks.datasets.sentiment import STRONGEST, sentiment_metrics
from harness.tasks.files.arrayfiles import Arrays, one_per_row, split_arrays
from harness.tasks.problems.problem import Regression
from harness.tasks.task import SPLITS, Task

BALLS = {"text": "linf:0.1", "audio": "linf:0.1", "vision": "linf:0.1"}
TOLERANCE = 1.0  # one step of the seven
NOTE = (
    "radii are in standard deviations of training; a sample fails when its sentiment is off by more than 1 (of -3 to 3)"
)


def mosei() -> Task:
    """Sentiment from -3 to 3 of spoken opinions (CMU-MOSEI), from your copy of the usual features.

    Metrics: accuracy in seven and in two classes, mean absolute error, Pearson's r. Splits are
    those of the files; features are standardised on train, their range is that of all splits;
    padding is never attacked.

    Raises:
        NoData: an array is not there.
        BadInput: an array cannot be used.
    """
    return _task("mosei")


def mosi_regression() -> Task:
    """Sentiment from -3 to 3 of spoken opinions (CMU-MOSI), from your copy of the usual features.
    All other properties are those of mosei.

    Raises:
        NoData: an array is not there.
        BadInput: an array cannot be used.
    """
    return _task("mosi-regression")


def _task(name: str) -> Task:
    arrays = split_arrays(name, (*BALLS, "labels"))
    sequences = [key for key in BALLS if arrays["train"][key].ndim > 2]
    labels = {split: _labels(f"{name}'s {split} labels", arrays[split]["labels"]) for split in SPLITS}
    valid = {key: _all_real(key, arrays) for key in sequences}
    return feature_task(name, arrays, BALLS, labels, Regression(TOLERANCE, sentiment_metrics), valid=valid, note=NOTE)


def _labels(where: str, values: NDArray[Any]) -> NDArray[Any]:
    labels = one_per_row(where, values).astype(np.float32)
    if not (np.abs(labels) <= STRONGEST).all():
        raise BadInput(
            f"{where} must lie between -{STRONGEST} and {STRONGEST}, they reach {labels.min():g} and {labels.max():g}"
        )
    return labels


def _all_real(key: str, arrays: Arrays) -> Tensor:
    return torch.cat([real_steps(torch.tensor(arrays[split][key])) for split in SPLITS])


def real_steps(x: Tensor) -> Tensor:
    """Which steps of sequences (N, T, D) are not padding, bool (N, T): from the first to the last
    that is not all zeros.
    """
    told = (x != 0).any(-1).int()
    begun, unfinished = told.cummax(1).values, told.flip(1).cummax(1).values.flip(1)
    return (begun * unfinished).bool()
