"""TallyQA: how many, in images; simple questions and complex ones (Acharya, Kafle & Kanan, AAAI
2019).

Layout of the folder `tallyqa`: ``train.json`` and ``test.json`` as published, lists of questions
with image (a path), question, answer, question_id, data_source and, in test, issimple; the images
at those paths (``train2014/...``, ``val2014/...`` of COCO, ``VG_100K/...`` and ``VG_100K_2/...`` of
Visual Genome), or their grid features as ``features/PATH.npy`` or ``.safetensors``, PATH without
its suffix.
"""

from __future__ import annotations

from dataclasses import dataclass

from attacks.errors import BadInput
from harness.tasks.datasets.freequestions import FreeQuestion, question_task, read_json
from harness.tasks.files.dataroot import data_path
from harness.tasks.problems.counts import Counting
from harness.tasks.sides import held_out
from harness.tasks.task import Task

LARGEST = 15
HELD_OUT = 20  # one of so many images of training is validation's
NOTE = "at most 10,000, 1,000 and 4,000 questions, by a seeded choice; photographs are reduced to 64 × 64"


@dataclass(frozen=True)
class Entry:
    """A question as published; `issimple` in test only."""

    question_id: int | str
    image: str
    question: str
    answer: int
    data_source: str
    issimple: bool | None = None


def tallyqa(tolerance: int = 0) -> Task:
    """How many? Free questions about images (3, 64, 64) or about grid features (TallyQA); counts
    from 0 to 15.

    At most 10,000 train, 1,000 val and 4,000 test questions. Groups: *complex* were written for
    TallyQA (data_source is amt), *simple* are imported ones without issimple = false (training has
    no issimple), *other* are the rest. There is no published validation split: it is one in 20 of
    the training images, by a hash of their names.

    Args:
        tolerance: a sample fails when its count is off by more; the score is exact accuracy in any
            case.

    Raises:
        NoData: a file or an image is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    train, test = _asked("train"), _asked("test")
    held = {each.image for each in train if held_out(each.image, HELD_OUT)}
    splits = {
        "train": [each for each in train if each.image not in held],
        "val": [each for each in train if each.image in held],
        "test": test,
    }
    folder = data_path("tallyqa", "train.json").parent
    return question_task("tallyqa", folder, splits, Counting(LARGEST, tolerance), NOTE, ("simple", "complex"))


def group(entry: Entry) -> str:
    """Whether a question is simple or complex, as the paper counts them."""
    if entry.data_source == "amt":
        return "complex"
    return "other" if entry.issimple is False else "simple"


def _asked(half: str) -> list[FreeQuestion]:
    path = data_path("tallyqa", f"{half}.json")
    entries = read_json(path, list[Entry])
    if unsaid := [each for each in entries if half == "test" and each.issimple is None]:
        raise BadInput(
            f"{path}: question {unsaid[0].question_id} lacks issimple, which separates simple from complex questions;"
            " fetch"
            " it again"
        )
    asked = [
        FreeQuestion(f"{each.question_id}", each.question, each.image, each.answer, group(each)) for each in entries
    ]
    if strange := [each for each in asked if not 0 <= each.target <= LARGEST]:
        raise BadInput(
            f"{path}: question {strange[0].sample} has the answer {strange[0].target!r}, which is not a count from 0"
            f" to {LARGEST}"
        )
    return asked
