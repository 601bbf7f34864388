"""MSR-Action3D: which of 20 actions does a person perform? (Li et al., CVPR workshop 2010.)

Research use only; request it and do not pass it on. Layout of the folder, as published:
``aAA_sSS_eEE_skeleton3D.txt`` for action, subject and repetition; lines of x, y, z in metres and a
confidence, 20 joints a frame.

The data has skeletons only. The second modality is a film that we draw from each skeleton, seen by
another camera: a number of `video` says how well that drawing is read, and nothing of real films.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch
from harness.tasks.datasets.action.skeletons import FILMED, FRAMES, JOINTS, SIDE, filmed, noisy, stretched
from harness.tasks.files.dataroot import NoData, data_path, mend
from harness.tasks.files.textfiles import read_text
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Classification
from harness.tasks.task import Task

Array = NDArray[Any]

NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_skeleton3D\.txt")
ORDER = (
    np.array([7, 4, 3, 20, 1, 8, 10, 12, 2, 9, 11, 13, 5, 14, 16, 18, 6, 15, 17, 19]) - 1
)  # of their joints, in ours
ACTIONS = 20
SUBJECTS = {"train": (1, 3, 5, 7), "val": (9,), "test": (2, 4, 6, 8, 10)}
COLUMNS = 4
FARTHEST = 8.0  # metres: coordinates lie between it and its negative
CAMERA, TILT, GRAIN, WIDEST_POST = np.radians(70), np.radians(8), 0.06, 6
NOTE = "skeleton in metres; the film is drawn from the skeleton by another camera, it is no recording"


def msr_action3d() -> Task:
    """Which of 20 actions? Real skeletons (MSR-Action3D), and films that are drawn from them.

    Across subjects: 1, 3, 5 and 7 train, 9 validates, the even ones test. Frames are stretched to
    32; frames and sequences without a skeleton are left out.

    Raises:
        NoData: the folder holds no sequence.
        BadInput: a file does not have the layout above, or a split has no sequence.
    """
    folder = data_path("msr-action3d", ".")
    found = sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))
    if not found:
        raise NoData(
            f"{folder} holds no file such as a01_s01_e01_skeleton3D.txt:"
            f" {mend('msr-action3d', str(folder.parent))} says where to request them"
        )
    bodies = {path: body for path in found if len(body := read_sequence(path))}
    modalities = (
        Modality("skeleton", (3, FRAMES, JOINTS, 1), "features", -FARTHEST, FARTHEST, 0.0, "linf:0.02"),
        Modality("video", (1, FILMED, SIDE, SIDE), "video", 0.0, 1.0, 0.5, "linf:0.03"),
    )
    splits = {
        split: _batch(folder, split, {path: body for path, body in bodies.items() if _of(path)[1] in subjects})
        for split, subjects in SUBJECTS.items()
    }
    empty = len(found) - len(bodies)
    left_out = f"; {empty} sequences without a skeleton are left out" if empty else ""
    return Task("msr-action3d", modalities, Classification(ACTIONS), splits, f"{NOTE}{left_out}")


def _of(path: Path) -> tuple[int, int]:
    """Action, from 0, and subject of a file."""
    match = NAME.fullmatch(path.name)
    assert match is not None, "only such files are listed"
    action, subject = int(match[1]) - 1, int(match[2])
    if not 0 <= action < ACTIONS:
        raise BadInput(f"{path} is of action {match[1]}: there are {ACTIONS}, numbered from 01")
    return action, subject


def _batch(folder: Path, split: str, sequences: Mapping[Path, Array]) -> Batch:
    if not sequences:
        raise BadInput(f"{folder} has no sequence of subjects {', '.join(map(str, SUBJECTS[split]))}: fetch it again")
    bodies = np.stack([stretched(body, FRAMES) for body in sequences.values()])
    inputs = {
        "skeleton": torch.tensor(np.moveaxis(bodies, -1, 1)[..., None].astype(np.float32)),
        "video": torch.tensor(_films(bodies, [path.stem for path in sequences])),
    }
    actions, subjects = zip(*map(_of, sequences), strict=True)
    samples, sources = tuple(path.stem for path in sequences), tuple(f"subject {each}" for each in subjects)
    return Batch(samples, inputs, torch.tensor(actions), sources, sources=sources)


def _films(bodies: Array, names: list[str]) -> Array:
    """Films from another camera; post and grain of each depend on the name of its file alone."""
    count = len(bodies)
    seen = filmed(bodies[:, :: FRAMES // FILMED], np.full(count, CAMERA), np.full(count, TILT), np.zeros(count, bool))
    each = [
        noisy(film[None], np.random.RandomState(zlib.crc32(name.encode())), GRAIN, WIDEST_POST)
        for film, name in zip(seen, names, strict=True)
    ]
    return np.concatenate(each)


def read_sequence(path: Path) -> Array:
    """A sequence (T, 20, 3) in metres, joints in our order; frames whose joints are all 0 are left
    out, and there may be no other.

    Raises:
        BadInput: the file does not have 4 numbers in a line, 20 lines a frame.
    """
    lines = [line.split() for line in read_text(path).split("\n") if line.strip()]
    try:
        rows = np.array([[float(number) for number in line] for line in lines])
    except ValueError:
        rows = np.empty(0)
    if rows.ndim != 2 or rows.shape[1] != COLUMNS or len(rows) % JOINTS or not np.isfinite(rows).all():
        raise BadInput(
            f"{path} has {len(lines)} lines, the first is {shown(' '.join(lines[0]) if lines else '')}: give x, y, z"
            f" and a confidence in each, {JOINTS} lines a frame"
        )
    frames = rows.reshape(-1, JOINTS, COLUMNS)[:, ORDER, :3]
    return frames[frames.any((1, 2))]
