"""Published questions about images: chosen, split into words, and joined with images or grid
features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch
from harness.tasks.files.dataroot import NoData, leads_out
from harness.tasks.files.grids import grid_of
from harness.tasks.files.images import read_picture
from harness.tasks.files.textfiles import read_text
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Problem
from harness.tasks.task import SPLITS, Task
from harness.tasks.words import fitted, learnt, split_words

T = TypeVar("T")
SIZE = (64, 64)  # height and width to which images are reduced
VOCABULARY = 500
POSITIONS = 16  # words of a question that are kept
MOST = {"train": 10_000, "val": 1_000, "test": 4_000}  # questions of a split that are held in memory
SEED = 20_26


@dataclass(frozen=True)
class FreeQuestion:
    """A question: its id, its words, its image (a path inside the data set's folder), its target
    and its group.
    """

    sample: str
    question: str
    image: str
    target: int
    group: str


def question_task(
    name: str,
    folder: Path,
    splits: Mapping[str, Sequence[FreeQuestion]],
    problem: Problem,
    note: str,
    report_groups: tuple[str, ...] = (),
) -> Task:
    """A task of free questions: `image` is an image (3, 64, 64), or a grid of features (C, H, W)
    where the folder has `features`.

    `question` is up to 16 of the 500 most frequent words of training, one-hot. Of each split at
    most `MOST` questions are kept, by a seeded choice. Words beyond a question's end are padding.
    Any word may replace another, because no synonyms are known that would keep free questions
    grammatical.

    Raises:
        NoData: an image is not there.
        BadInput: a question has no word, or an image or a grid of features cannot be used.
    """
    if wordless := [each.sample for split in SPLITS for each in splits[split] if not split_words(each.question)]:
        raise BadInput(f"question {wordless[0]} in {folder} has no word: fetch its questions again")
    kept = {split: _chosen(_told_apart(splits[split]), MOST[split]) for split in SPLITS}
    if empty := [split for split in SPLITS if not kept[split]]:
        raise BadInput(f"{folder} has no questions for split {empty[0]!r}: complete its files")
    words = learnt([each.question for each in kept["train"]], VOCABULARY, POSITIONS)
    grids = (folder / "features").is_dir()
    images = {split: _images(folder, [each.image for each in kept[split]], grids) for split in SPLITS}
    shape = tuple(images["train"].shape[1:])
    if grids:
        radius = float(f"{float(images['train'].std()) / 10:.3g}") or 0.1
        image = Modality("image", shape, "features", -math.inf, math.inf, 0.0, f"linf:{radius:g}")
    else:
        image = Modality("image", shape, "image", 0.0, 255.0, 127.5, "linf:8")
    batches = {}
    for split in SPLITS:
        texts = fitted(words, [each.question for each in kept[split]])
        batches[split] = Batch(
            tuple(each.sample for each in kept[split]),
            {"image": images[split], "question": words.one_hot(texts)},
            torch.tensor([each.target for each in kept[split]]),
            tuple(each.group for each in kept[split]),
            {"question": words.numbers(texts) > 0},
            sources=tuple(str(PurePosixPath(each.image)) for each in kept[split]),
        )
    return Task(name, (image, words.modality()), problem, batches, note, report_groups=report_groups)


def read_json(path: Path, kind: type[T]) -> T:
    """The content of a JSON file as dataclasses, without unknown keys.

    Raises:
        BadInput: it is damaged, is not UTF-8 text, or has a part of another type; the message names
            the place.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(read_text(path), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise BadInput(f"{path} is not JSON: {first['msg']}; fetch it again") from None
        at = " ".join(map(str, first["loc"])) or "its beginning"
        raise BadInput(
            f"{path} is not as published at {at}: {first['msg']}, got {shown(first['input'])}; fetch it again"
        ) from None


def _told_apart(asked: Sequence[FreeQuestion]) -> list[FreeQuestion]:
    """The questions; of one id, which sources of a file may share, those after the first with a
    number behind it.
    """
    published = {each.sample for each in asked}
    numbers: dict[str, Iterator[int]] = {}
    apart = []
    for each in asked:
        if each.sample in numbers:
            numbered = (f"{each.sample}-{number}" for number in numbers[each.sample])
            apart.append(replace(each, sample=next(name for name in numbered if name not in published)))
        else:
            numbers[each.sample] = count(2)
            apart.append(each)
    return apart


def _chosen(asked: Sequence[FreeQuestion], most: int) -> list[FreeQuestion]:
    """At most this many of them, in their order."""
    rows = np.random.RandomState(SEED).permutation(len(asked))[:most]
    return [asked[row] for row in sorted(rows.tolist())]


def _images(folder: Path, names: Sequence[str], grids: bool) -> Tensor:
    """The image of every question (N, ...); each file is read once."""
    if outside := [name for name in names if leads_out(name)]:
        raise BadInput(f"image {shown(outside[0])} of a question lies outside of {folder}: fetch its questions again")
    read = {name: _image(folder, name, grids) for name in dict.fromkeys(names)}
    _check_shapes(folder, ((name, tuple(x.shape)) for name, x in read.items()))
    return torch.stack([read[name] for name in names]).float()


def _image(folder: Path, name: str, grids: bool) -> Tensor:
    if grids:
        return grid_of(folder / "features" / name)
    path = folder / name
    try:
        there = path.is_file()
    except OSError as error:
        raise BadInput(
            f"image {shown(name)} of a question is not a path: {error.strerror}; fetch its questions again"
        ) from None
    if not there:
        raise NoData(
            f"{path} is not there: put the images of {folder.name} into {folder}, as the module in"
            " harness/tasks/datasets describes"
        )
    return torch.tensor(read_picture(path, SIZE))


def _check_shapes(folder: Path, shapes: Iterable[tuple[str, tuple[int, ...]]]) -> None:
    known = dict(shapes)
    if len(set(known.values())) > 1:
        (one, first), (other, second) = (
            next(iter(known.items())),
            next(pair for pair in known.items() if pair[1] != next(iter(known.values()))),
        )
        raise BadInput(
            f"grid features of {one} in {folder} have shape {first}, those of {other} {second}: give all one"
        )
