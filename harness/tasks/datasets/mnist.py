"""MNIST: handwritten digits, 28×28, raw range 0 to 255 (LeCun, Bottou, Bengio & Haffner, Proc.

IEEE 1998).
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.errors import BadInput
from harness.tasks.batch import Batch
from harness.tasks.files.dataroot import data_path
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Classification
from harness.tasks.task import Task

SIDE = 28
PARTS = {"train": ("train", "train10k"), "test": ("t10k",)}  # train10k: 10,000 of the 60,000, under a name of its own
UNSIGNED_BYTES = 8  # the idx format's code for them
HELD_OUT = 10  # every tenth training image is for validation


def digits_seen() -> Task:
    """MNIST: one modality, an image of 28 × 28; every tenth training image is for validation.

    Raises:
        NoData: the files are not in the data root.
        BadInput: one of them is damaged.
    """
    images, labels = mnist("train")
    held_out = np.arange(len(labels)) % HELD_OUT == HELD_OUT - 1
    splits = {
        "train": _batch("train", images, labels, np.flatnonzero(~held_out)),
        "val": _batch("train", images, labels, np.flatnonzero(held_out)),
        "test": _batch("test", *mnist("test")),
    }
    return Task(
        "mnist", (Modality("image", (1, SIDE, SIDE), "image", 0.0, 255.0, 0.0, "linf:51"),), Classification(10), splits
    )


def _batch(part: str, images: NDArray[Any], labels: NDArray[Any], rows: NDArray[Any] | None = None) -> Batch:
    """The images in these rows of a file, all if None; named after part and row."""
    chosen = np.arange(len(labels)) if rows is None else rows
    inputs = {"image": torch.tensor(images[chosen], dtype=torch.float32)[:, None]}
    return Batch(
        tuple(f"{part}-{row:05d}" for row in chosen), inputs, torch.tensor(labels[chosen]).long(), ("",) * len(chosen)
    )


def mnist(part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images (N, 28, 28) and labels (N,), uint8, of `train` or `test`.

    Raises:
        NoData: the files are not there.
        BadInput: a file is damaged, or images and labels do not belong together.
    """
    path = data_path("mnist", *(f"{stem}-images-idx3-ubyte.gz" for stem in PARTS[part]))
    images = read_idx(path)
    labels = read_idx(data_path("mnist", path.name.replace("images-idx3", "labels-idx1")))
    if images.shape != (len(labels), SIDE, SIDE) or labels.ndim != 1:
        raise BadInput(
            f"{path} holds {images.shape}, its labels {labels.shape}: expected (N, {SIDE}, {SIDE}) and (N,); fetch them"
            " again"
        )
    return images, labels


def read_idx(path: Path) -> NDArray[Any]:
    """The array of bytes in a gzipped idx file, as MNIST is published.

    The format: two zero bytes, the type, the number of axes, each axis as a big-endian int32, the
    values.

    Raises:
        BadInput: it is no such file, or is cut short.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} cannot be read: {error}; fetch it again") from None
    start = 4 + 4 * content[3] if content[:3] == bytes((0, 0, UNSIGNED_BYTES)) and len(content) > 3 else len(content)
    if len(content) <= start:
        raise BadInput(
            f"{path} is not an idx file of bytes: it begins with {content[:4].hex(' ') or 'nothing'}; fetch it again"
        )
    shape = tuple(np.frombuffer(content, ">i4", content[3], 4).tolist())
    values = np.frombuffer(content, np.uint8, offset=start)
    if min(shape, default=0) < 0 or values.size != math.prod(shape):
        raise BadInput(f"{path} announces {shape} and holds {values.size} bytes: it is damaged, fetch it again")
    return values.reshape(shape)
