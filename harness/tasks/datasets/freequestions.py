"""Published questions about images: chosen, split into words, and joined with images or grid
features.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from harness.tasks.lazy import LazySplit, Source
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Problem
from harness.tasks.task import SPLITS, Task
from harness.tasks.words import Words, fitted, learnt, split_words

T = TypeVar("T")
SIZE = (64, 64)  # height and width to which images are reduced
VOCABULARY = 500
POSITIONS = 16  # words of a question that are kept
MOST = {"train": 10_000, "val": 1_000, "test": 4_000}  # questions of a split
SHOWN = 256  # grids of training that show how far features spread
READERS = 2  # processes that read images ahead
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
    grammatical. Images are read when their samples are taken.

    Raises:
        NoData: an image is not there.
        BadInput: a question has no word, or an image or a grid of features cannot be used.
    """
    if wordless := [each.sample for split in SPLITS for each in splits[split] if not split_words(each.question)]:
        raise BadInput(f"question {wordless[0]} in {folder} has no word: fetch its questions again")
    kept = {split: chosen(_told_apart(splits[split]), MOST[split]) for split in SPLITS}
    if empty := [split for split in SPLITS if not kept[split]]:
        raise BadInput(f"{folder} has no questions for split {empty[0]!r}: complete its files")
    words = learnt([each.question for each in kept["train"]], VOCABULARY, POSITIONS)
    images = Images(folder, (folder / "features").is_dir(), SIZE)
    images.check([each.image for split in SPLITS for each in kept[split]])
    modalities = (_image_modality(images, kept["train"]), words.modality())
    for split in SPLITS:
        problem.check_targets(torch.tensor([each.target for each in kept[split]]))
    read = {split: _split(split, kept[split], words, images, modalities, problem) for split in SPLITS}
    return Task(name, modalities, problem, read, note, report_groups=report_groups)


def _image_modality(images: Images, asked: Sequence[FreeQuestion]) -> Modality:
    """Images, or grids, whose radius is a tenth of the spread of the first ones of training."""
    if not images.grids:
        return Modality("image", (3, *SIZE), "image", 0.0, 255.0, 127.5, "linf:8")
    names = list(dict.fromkeys(each.image for each in asked))[:SHOWN]
    grids = [images[name] for name in names]
    for name, grid in zip(names, grids, strict=True):
        if grid.shape != grids[0].shape:
            raise BadInput(
                f"grid features of {names[0]} in {images.folder} have shape {tuple(grids[0].shape)}, those of {name}"
                f" {tuple(grid.shape)}: give all one"
            )
    radius = float(f"{float(torch.stack(grids).std()) / 10:.3g}") or 0.1
    return Modality("image", tuple(grids[0].shape), "features", -math.inf, math.inf, 0.0, f"linf:{radius:g}")


def _split(
    name: str,
    asked: Sequence[FreeQuestion],
    words: Words,
    images: Images,
    modalities: tuple[Modality, ...],
    problem: Problem,
) -> LazySplit:
    texts = fitted(words, [each.question for each in asked])
    rows = {each.sample: row for row, each in enumerate(asked)}
    there = words.numbers(texts) > 0

    def read(row: int) -> tuple[dict[str, Tensor], int]:
        return {"image": images[asked[row].image], "question": words.one_hot([texts[row]])[0]}, asked[row].target

    def padded(batch: Batch) -> Batch:
        return replace(batch, valid={"question": there[[rows[sample] for sample in batch.samples]]})

    samples, groups = tuple(each.sample for each in asked), tuple(each.group for each in asked)
    sources = tuple(str(PurePosixPath(each.image)) for each in asked)
    source = Source(name, range(len(asked)), read, modalities, (), problem, READERS)
    return LazySplit(source, range(len(asked)), samples, groups, sources, [padded])


def read_json(path: Path, kind: type[T]) -> T:
    """The content of a JSON file as dataclasses, without unknown keys.

    Raises:
        BadInput: it is damaged, is not UTF-8 text, or has a part of another type; the message names
            the place.
    """
    return _parser(kind)(f"{path}", read_text(path))


def read_json_lines(path: Path, kind: type[T]) -> list[T]:
    """The lines of a file, each of them JSON, as `read_json` reads it.

    Raises:
        BadInput: as `read_json`; the message also names the line.
    """
    parse, lines = _parser(kind), enumerate(read_text(path).split("\n"), 1)
    return [parse(f"line {number} of {path}", line) for number, line in lines if line.strip()]


def _parser(kind: type[T]) -> Callable[[str, str], T]:
    """Reads a text as dataclasses; a message names the place of the text."""
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(kind)

    def parse(where: str, text: str) -> T:
        try:
            return adapter.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["type"] == "json_invalid":
                raise BadInput(f"{where} is not JSON: {first['msg']}; fetch it again") from None
            at = " ".join(map(str, first["loc"])) or "its beginning"
            raise BadInput(
                f"{where} is not as published at {at}: {first['msg']}, got {shown(first['input'])}; fetch it again"
            ) from None

    return parse


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


def refuse_repeated(path: Path, numbers: Sequence[T], what: str = "question") -> None:
    """Refuse a file that has an id twice; `what` says what has ids.

    Raises:
        BadInput: naming the id.
    """
    if len(set(numbers)) < len(numbers):
        raise BadInput(f"{path} has {what} {Counter(numbers).most_common(1)[0][0]} more than once: fetch it again")


def chosen(asked: Sequence[T], most: int) -> list[T]:
    """At most this many of them, in their order."""
    rows = np.random.RandomState(SEED).permutation(len(asked))[:most]
    return [asked[row] for row in sorted(rows.tolist())]


@dataclass(frozen=True)
class Images:
    """The images of a data set by their paths inside its folder, uint8 (3, H, W) of one size, or
    their grids of features.
    """

    folder: Path
    grids: bool
    size: tuple[int, int]

    def check(self, names: Sequence[str]) -> None:
        """Refuse paths that lead out of the folder, and images that are not there; none is read."""
        if outside := [name for name in names if leads_out(name)]:
            raise BadInput(
                f"image {shown(outside[0])} of a question lies outside of {self.folder}: fetch its questions again"
            )
        for name in () if self.grids else dict.fromkeys(names):
            self._check_there(name)

    def __getitem__(self, name: str) -> Tensor:
        if self.grids:
            return grid_of(self.folder / "features" / name)
        return torch.tensor(read_picture(self.folder / name, self.size))

    def _check_there(self, name: str) -> None:
        path = self.folder / name
        try:
            there = path.is_file()
        except OSError as error:
            raise BadInput(
                f"image {shown(name)} of a question is not a path: {error.strerror}; fetch its questions again"
            ) from None
        if not there:
            raise NoData(
                f"{path} is not there: put the images of {self.folder.name} into {self.folder}, as the module in"
                " harness/tasks/datasets describes"
            )
