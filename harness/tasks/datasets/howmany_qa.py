"""HowMany-QA: the counting questions of VQA 2.0 (Trott, Xiong & Socher, ICLR 2018; Goyal et al.,
CVPR 2017).

Layout of the folder `howmany-qa`: ``HowMany-QA/question_ids.json`` (lists of ids: train.vqa, dev,
test), VQA's own ``v2_OpenEnded_mscoco_{train,val}2014_questions.json`` and
``v2_mscoco_{train,val}2014_annotations.json``; COCO's images as
``{train,val}2014/COCO_{train,val}2014_NUMBER.jpg``, or their grid features as ``features/PATH.npy``
or ``.safetensors``, PATH without its suffix.
"""

from __future__ import annotations

from dataclasses import dataclass

from attacks.errors import BadInput
from harness.tasks.datasets.freequestions import FreeQuestion, question_task, read_json
from harness.tasks.datasets.vqafiles import OfVqa, vqa_questions
from harness.tasks.files.dataroot import data_path
from harness.tasks.problems.softcounts import SoftCounting, voted
from harness.tasks.task import Task

LARGEST = 20
DIGITS = 9  # longer numbers are not counts, and may be too long for Python
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
IDS = "HowMany-QA/question_ids.json"
# key in IDS, part of VQA
PARTS = {"train": ("train", "train2014"), "val": ("dev", "val2014"), "test": ("test", "val2014")}
NOTE = (
    "at most 10,000, 1,000 and 4,000 questions, by a seeded choice; photographs are reduced to 64 × 64; "
    "training lacks the questions that HowMany-QA takes from Visual Genome; the score is VQA's soft accuracy"
)


@dataclass(frozen=True)
class FromVqa:
    """The ids of VQA's questions."""

    vqa: list[int]


@dataclass(frozen=True)
class Ids:
    """Which questions HowMany-QA takes."""

    train: FromVqa
    dev: list[int]
    test: list[int]


def howmany_qa(tolerance: int = 0) -> Task:
    """How many? Free questions about images (3, 64, 64) or about grid features (HowMany-QA); counts
    from 0 to 20.

    At most 10,000 train, 1,000 val (its dev) and 4,000 test questions. Ten people answered each:
    the score is the soft accuracy min(0.3 n, 1) of an answer that n gave, and the truth for RMSE
    and attacks is the count most gave. The part of training that comes from Visual Genome, which
    has one answer each, is not read.

    Args:
        tolerance: a sample fails when its count is off from the truth by more.

    Raises:
        NoData: a file or an image is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    path = data_path("howmany-qa", IDS)
    ids = read_json(path, Ids)
    wanted = {"train": ids.train.vqa, "val": ids.dev, "test": ids.test}
    patterns: dict[tuple[int, ...], int] = {}
    files = {part: vqa_questions("howmany-qa", part) for _, part in PARTS.values()}
    splits = {split: _asked(split, wanted[split], files[PARTS[split][1]], patterns) for split in PARTS}
    return question_task("howmany-qa", path.parents[1], splits, SoftCounting(tuple(patterns), tolerance), NOTE)


def count(answer: str) -> int:
    """The count that an answer names in digits or as a word; -1 if it names no count."""
    text = answer.strip().lower()
    if text.isdecimal() and text.isascii() and len(text) <= DIGITS:
        return int(text)
    return NUMBERS.index(text) if text in NUMBERS else -1


def _asked(
    split: str, ids: list[int], known: dict[int, OfVqa], patterns: dict[tuple[int, ...], int]
) -> list[FreeQuestion]:
    """The questions of a split that have a count for an answer; new patterns of votes are
    numbered.
    """
    if lacking := [each for each in ids if each not in known]:
        raise BadInput(
            f"question {lacking[0]} of {split} in {IDS} is not in VQA's {PARTS[split][1]} files: they are not of one"
            " release"
        )
    asked = []
    for each in ids:
        votes = voted([count(answer) for answer in known[each].answers], LARGEST)
        if sum(votes):
            target = patterns.setdefault(votes, len(patterns))
            asked.append(FreeQuestion(f"{each}", known[each].question, known[each].image, target, "all"))
    return asked
