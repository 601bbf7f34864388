"""NTU RGB-D: which of 60 actions do one or two persons perform? (Shahroudy et al., CVPR 2016.)

Research use only; request it and do not pass it on. Layout of the folder, as published:
``nturgb+d_skeletons/SsssCcccPpppRrrrAaaa.skeleton``, ``nturgb+d_rgb/SsssCcccPpppRrrrAaaa_rgb.avi``,
and ``missing_skeletons.txt`` with the names, one in a line, that are left out.

A skeleton file is text: the count of frames; in each frame the count of bodies; of each body a line
that begins with its id, the count of its joints, and a line for each joint that begins with x, y
and z in metres.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch
from harness.tasks.datasets.action.skeletons import FILMED, FRAMES, stretched
from harness.tasks.files.dataroot import NoData, data_path, mend
from harness.tasks.files.films import read_frames
from harness.tasks.files.textfiles import read_lines, read_text
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Classification
from harness.tasks.task import Task

Array = NDArray[Any]
Side = Annotated[int, Interval(ge=16, le=512)]

NAME = re.compile(r"S\d{3}C\d{3}P(\d{3})R\d{3}A(\d{3})")
JOINTS, PERSONS, ACTIONS = 25, 2, 60
TRAINED = frozenset({1, 4, 8, 13, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38})
VALIDATED = frozenset({2, 5, 9, 14})
"""Subjects; all others test."""
FARTHEST = 8.0  # metres: coordinates lie between it and its negative


def ntu_rgbd(side: Side = 32) -> Task:
    """Which of 60 actions? Skeletons and films of NTU RGB-D, from your copy, across subjects.

    20 subjects test, 4 validate, 16 train. Sequences without a skeleton are left out. The two
    persons are those who are seen longest; the first joint is the origin.

    Args:
        side: of a film in pixels, each way.

    Raises:
        NoData: the folder holds no skeleton.
        BadInput: a file does not have the layout above, or PyAV is not installed.
    """
    folder = data_path("ntu-rgbd", "nturgb+d_skeletons")
    found = sorted(path for path in folder.iterdir() if path.suffix == ".skeleton" and NAME.fullmatch(path.stem))
    if not found:
        raise NoData(
            f"{folder} holds no file such as S001C001P001R001A001.skeleton:"
            f" {mend('ntu-rgbd', str(folder.parent.parent))} says where to request them"
        )
    left_out = set(read_lines(data_path("ntu-rgbd", "missing_skeletons.txt")))
    kept = [path for path in found if path.stem not in left_out]
    modalities = (
        Modality("skeleton", (3, FRAMES, JOINTS, PERSONS), "features", -FARTHEST, FARTHEST, 0.0, "linf:0.02"),
        Modality("video", (3, FILMED, side, side), "video", 0.0, 1.0, 0.5, "linf:0.03"),
    )
    sides = {split: [path for path in kept if _side(path) == split] for split in ("train", "val", "test")}
    splits = {split: _batch(paths, side) for split, paths in sides.items() if paths or split == "test"}
    return Task("ntu-rgbd", modalities, Classification(ACTIONS), splits, "skeleton in metres")


def _of(path: Path) -> tuple[int, int]:
    """Subject, and action from 0."""
    match = NAME.fullmatch(path.stem)
    assert match is not None, "only such files are listed"
    action = int(match[2]) - 1
    if not 0 <= action < ACTIONS:
        raise BadInput(f"{path} is of action {match[2]}: there are {ACTIONS}, numbered from 001")
    return int(match[1]), action


def _side(path: Path) -> str:
    subject = _of(path)[0]
    return "train" if subject in TRAINED else "val" if subject in VALIDATED else "test"


def _batch(paths: list[Path], side: int) -> Batch:
    if not paths:
        raise BadInput("data set 'ntu-rgbd' has no sequence of the subjects who test: fetch it again")
    bodies = np.stack([stretched(read_skeletons(path), FRAMES) for path in paths])
    films = [data_path("ntu-rgbd", f"nturgb+d_rgb/{path.stem}_rgb.avi") for path in paths]
    seen = np.stack([read_frames(film, FILMED, (side, side)) for film in films])
    inputs = {
        "skeleton": torch.tensor(bodies.transpose(0, 4, 1, 3, 2).astype(np.float32)),
        "video": torch.tensor(np.moveaxis(seen, 2, 1)),
    }
    subjects, actions = zip(*map(_of, paths), strict=True)
    sources = tuple(f"subject {each}" for each in subjects)
    return Batch(tuple(path.stem for path in paths), inputs, torch.tensor(actions), sources, sources=sources)


def read_skeletons(path: Path) -> Array:
    """The two persons who are seen longest, (T, 2, 25, 3) in metres, in frames with any; zeros
    where one is not seen.

    Raises:
        BadInput: the file does not have the layout above, or shows no person.
    """
    try:
        frames = _frames(path)
    except (StopIteration, ValueError, IndexError):
        raise BadInput(
            f"{path} does not hold a count of frames and then bodies of {JOINTS} joints, with x, y and z in metres"
            f" first in each line (its first is {shown(read_text(path)[:20])}): fetch it again"
        ) from None
    seen = Counter(body for frame in frames for body in frame)
    persons = [body for body, _ in seen.most_common(PERSONS)]
    there = [frame for frame in frames if any(body in frame for body in persons)]
    if not there:
        raise BadInput(f"{path} shows no person: name it in missing_skeletons.txt")
    nobody = np.zeros((JOINTS, 3))
    return np.array(
        [[frame.get(body, nobody) for body in [*persons, *[""] * (PERSONS - len(persons))]] for frame in there]
    )


def _frames(path: Path) -> list[dict[str, Array]]:
    """The joints (25, 3) of each body of each frame, by its id."""
    lines = iter([line.split() for line in read_lines(path)])
    return [dict(_body(lines) for _ in range(int(next(lines)[0]))) for _ in range(int(next(lines)[0]))]


def _body(lines: Iterator[list[str]]) -> tuple[str, Array]:
    """The id of the next body, and its joints (25, 3)."""
    body, joints = next(lines)[0], int(next(lines)[0])
    places = np.array([[float(number) for number in line[:3]] for line in islice(lines, joints)])
    if joints != JOINTS or places.shape != (JOINTS, 3) or not np.isfinite(places).all():
        raise ValueError("another skeleton, or a joint without a place")
    return body, places
