"""Segmentation of photographs with depth, from lists of files: what NYUDv2 and SUN RGB-D share.

``train.txt`` and ``val.txt``, which holds the test samples, have a line for each sample: the paths
of its photograph, its classes and its depth, with tabs between. Classes count from 0, and 255 is
ignored; depth is a grey PNG of 16 bits, where 0 is a hole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch
from harness.tasks.files.dataroot import NoData, data_path, leads_out, mend
from harness.tasks.files.images import nearest, read_numbers, read_sized
from harness.tasks.files.textfiles import read_text
from harness.tasks.modality import Modality
from harness.tasks.problems.segmentation import Segmentation
from harness.tasks.sides import held_out
from harness.tasks.task import Task

Array = NDArray[Any]

IGNORED = 255
UNIT = 5_000.0  # a depth as stored, by which networks are given it
FARTHEST = (2**16 - 1) / UNIT
HELD_OUT = 10  # one of so many training samples is validation's
NOTE = (
    "rgb from 0 to 255; depth is the stored number / 5,000, where 0 is a hole; both are reduced, so that results are"
    " not those of the published size"
)
Height = Annotated[int, Interval(ge=12, le=4_096)]
Fit = Literal["cropped", "stretched"]
"""What is done with a photograph and a depth of another size than the classes."""
CLASSES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books",
    "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand",
    "toilet", "sink", "lamp", "bathtub", "bag", "other structure", "other furniture", "other prop",
)  # fmt: skip


@dataclass(frozen=True)
class Listed:
    """The files of a sample, below the folder of the data set."""

    rgb: str
    mask: str
    depth: str


def rgbd_task(name: str, classes: int, height: Height, fit: Fit) -> Task:
    """The task of a data set: photographs (3, H, W) and depth (1, H, W), a third wider than high.

    Raises:
        NoData: a file is not there.
        BadInput: a file is damaged or not as above.
    """
    size = (height, height * 4 // 3)
    modalities = (
        Modality("rgb", (3, *size), "image", 0.0, 255.0, 127.5, "linf:4"),
        Modality("depth", (1, *size), "image", 0.0, FARTHEST, 0.0, "linf:0.02"),
    )
    train, test = (_listed(name, f"{half}.txt") for half in ("train", "val"))
    held = [held_out(each.rgb, HELD_OUT) for each in train]
    chosen = {
        "train": [each for each, out in zip(train, held, strict=True) if not out],
        "val": [each for each, out in zip(train, held, strict=True) if out],
        "test": test,
    }
    splits = {split: _batch(name, each, classes, size, fit) for split, each in chosen.items()}
    return Task(name, modalities, Segmentation(classes, size, IGNORED, CLASSES[:classes]), splits, NOTE)


def _listed(name: str, list_name: str) -> list[Listed]:
    path = data_path(name, list_name)
    rows = [line.split("\t") for line in read_text(path).split("\n") if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != 3 or any(not each.strip() or leads_out(each.strip()) for each in row):
            raise BadInput(
                f"{path} has the line {shown(chr(9).join(row))} (number {number}): write three paths inside"
                f" {path.parent}, of rgb, classes and depth, with tabs between"
            )
    if twice := [each for each, count in Counter(row[0] for row in rows).items() if count > 1]:
        raise BadInput(f"{path} names {twice[0]} twice: name each photograph once")
    return [Listed(*(each.strip() for each in row)) for row in rows]


def _batch(name: str, listed: Sequence[Listed], classes: int, size: tuple[int, int], fit: Fit) -> Batch:
    if not listed:
        raise BadInput(f"data set {name!r} lists too few photographs to hold one in {HELD_OUT} out: list more")
    read = [_sample(name, each, classes, size, fit) for each in listed]
    rgb, depth, masks = (torch.tensor(np.stack(part)) for part in zip(*read, strict=True))
    names = tuple(each.rgb for each in listed)
    return Batch(names, {"rgb": rgb, "depth": depth}, masks, ("all",) * len(listed), sources=names)


def _sample(name: str, listed: Listed, classes: int, size: tuple[int, int], fit: Fit) -> tuple[Array, Array, Array]:
    """Photograph, depth and classes of a sample, at one size."""
    rgb, mask, depth = (_there(name, each) for each in (listed.rgb, listed.mask, listed.depth))
    whole = read_numbers(mask)
    reduced = nearest(whole, size).astype(np.int64)
    _check_classes(mask, reduced, classes)
    seen = _photograph(rgb, (whole.shape[0], whole.shape[1]), size, fit)
    numbers = read_numbers(depth)
    measured = numbers if fit == "stretched" else _middle(depth, numbers, whole.shape)
    return seen.astype(np.float32), nearest(measured, size)[None].astype(np.float32) / np.float32(UNIT), reduced


def _there(name: str, place: str) -> Path:
    """The path of a listed file.

    Raises:
        NoData: it is not there.
    """
    folder = data_path(name, "train.txt").parent
    if not (folder / place).is_file():
        command = mend(name, str(folder.parent))
        raise NoData(f"data set {name!r} lists {place}, which is not in {folder}: get it with '{command}'")
    return folder / place


def _check_classes(path: Path, mask: Array, classes: int) -> None:
    if len(strange := mask[(mask >= classes) & (mask != IGNORED)]):
        raise BadInput(
            f"{path} holds class {int(strange[0])}: number the {classes} classes from 0, and write {IGNORED} where a"
            " pixel is to be ignored"
        )
    if bool((mask == IGNORED).all()):
        raise BadInput(f"{path} has no pixel that counts at this size: leave the photograph out, or give more height")


def _photograph(path: Path, whole: tuple[int, int], size: tuple[int, int], fit: Fit) -> Array:
    reduced, own = read_sized(path, size)
    if own == whole or fit == "stretched":
        return reduced
    from PIL import Image

    cropped = _middle(path, read_sized(path, own)[0], whole)
    image = Image.fromarray(np.ascontiguousarray(cropped.transpose(1, 2, 0)))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BOX)).transpose(2, 0, 1)


def _middle(path: Path, x: Array, whole: tuple[int, ...]) -> Array:
    """The middle of an image (..., H, W), as large as its classes."""
    rows, columns = (more - few for more, few in zip(x.shape[-2:], whole, strict=True))
    if rows < 0 or columns < 0:
        raise BadInput(
            f"{path} has {x.shape[-2]}×{x.shape[-1]} pixels, fewer than its classes, {whole[0]}×{whole[1]}: fetch both"
            " again"
        )
    return x[..., rows // 2 : rows // 2 + whole[0], columns // 2 : columns // 2 + whole[1]]
