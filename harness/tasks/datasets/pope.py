"""POPE: is there such an object in the photograph? (Li et al., EMNLP 2023)

Layout of the folder `pope`: ``coco_pope_random.json``, ``coco_pope_popular.json`` and
``coco_pope_adversarial.json`` as published, one JSON object a line with question_id, image, text
and label; COCO's images as ``val2014/COCO_val2014_NUMBER.jpg``. A link to another folder of them
will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.tasks.datasets.answeredquestions import Answered, Published, Samples, Size, answered_task, published
from harness.tasks.datasets.freequestions import read_json_lines
from harness.tasks.files.dataroot import data_path
from harness.tasks.task import Task

FILES = ("random", "popular", "adversarial")
NOTE = "a question about an image may stand in several of the three files"


@dataclass(frozen=True)
class Entry:
    """A question as published."""

    question_id: int
    image: str
    text: str
    label: Literal["yes", "no"]


def pope(size: Size = 224, samples: Samples = 9_000) -> Task:
    """Is there such an object in the photograph? Yes or no, in words (POPE).

    Objects that are not there are drawn at random, are frequent ones, or often stand beside those
    that are there: the files random, popular and adversarial, which are the groups. Ids are those
    of the files, with the name of the file before them.

    Args:
        size: height and width to which images are stretched.
        samples: the most questions, by a seeded choice; all of them give the words.

    Raises:
        NoData: a file or an image is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    return answered_task(pope_questions(), size, samples, NOTE, FILES, "allowed")


def pope_questions() -> Published:
    """All questions.

    Raises:
        NoData: a file is not there.
        BadInput: a file is damaged or does not have the layout above.
    """
    files = [_file(name) for name in FILES]
    return Published("pope", files[0].folder, tuple(each for file in files for each in file.asked), "yes-no")


def _file(name: str) -> Published:
    path = data_path("pope", f"coco_pope_{name}.json")
    asked = [
        Answered(f"{name}-{each.question_id}", each.text, f"val2014/{each.image}", (each.label,), name)
        for each in read_json_lines(path, Entry)
    ]
    return published(path, "pope", "yes-no", asked)
