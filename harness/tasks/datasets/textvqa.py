"""TextVQA: questions about the text in photographs (Singh et al., CVPR 2019).

Layout of the folder `textvqa`: ``TextVQA_0.5.1_val.json`` as published, with a list `data` of
question_id, image_id, question and answers; the images as ``train_images/IMAGE_ID.jpg``, where the
archive of training and validation puts them.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.tasks.datasets.answeredquestions import Answered, Published, Samples, Size, answered_task, published
from harness.tasks.datasets.freequestions import read_json
from harness.tasks.files.dataroot import data_path
from harness.tasks.task import Task

FILE = "TextVQA_0.5.1_val.json"
NOTE = "the score is VQA's soft accuracy"


@dataclass(frozen=True)
class Entry:
    """A question as published."""

    question_id: int
    image_id: str
    question: str
    answers: list[str]


@dataclass(frozen=True)
class Entries:
    """The file."""

    data: list[Entry]


def textvqa(size: Size = 448, samples: Samples = 4_000) -> Task:
    """What is written there? Questions about text in photographs, answered in words (TextVQA,
    validation).

    The score is VQA's soft accuracy over the answers of ten people; a sample fails below 0.5.

    Args:
        size: height and width to which images are stretched; small text needs more.
        samples: the most questions, by a seeded choice; all of them give the words.

    Raises:
        NoData: a file or an image is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    return answered_task(textvqa_questions(), size, samples, NOTE)


def textvqa_questions() -> Published:
    """All questions.

    Raises:
        NoData: a file is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    path = data_path("textvqa", FILE)
    asked = [
        Answered(f"{each.question_id}", each.question, f"train_images/{each.image_id}.jpg", tuple(each.answers))
        for each in read_json(path, Entries).data
    ]
    return published(path, "textvqa", "vqa", asked)
