"""The questions and answers of VQA 2.0 (Goyal et al., CVPR 2017), as HowMany-QA and VQAv2 read
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from attacks.errors import BadInput
from harness.tasks.datasets.freequestions import read_json, refuse_repeated
from harness.tasks.files.dataroot import data_path


@dataclass(frozen=True)
class Question:
    """A question of VQA."""

    question_id: int
    question: str


@dataclass(frozen=True)
class Questions:
    """A file of VQA."""

    questions: list[Question]


@dataclass(frozen=True)
class Answer:
    """The answer of one of ten people."""

    answer: str


@dataclass(frozen=True)
class Annotation:
    """The answers to a question, the number of its image, and the type of its answer."""

    question_id: int
    image_id: int
    answers: list[Answer]
    answer_type: str


@dataclass(frozen=True)
class Annotations:
    """A file of VQA."""

    annotations: list[Annotation]


@dataclass(frozen=True)
class OfVqa:
    """A question with all that its annotation holds."""

    question: str
    image: str
    answers: list[str]
    answer_type: str


def vqa_questions(data_set: str, part: str) -> dict[int, OfVqa]:
    """All questions of a part of VQA (train2014 or val2014), by id.

    Raises:
        NoData: a file is not there.
        BadInput: a file is not as published, has a question twice, or lacks one of the other file.
    """
    questions, annotations = (
        data_path(data_set, name)
        for name in (f"v2_OpenEnded_mscoco_{part}_questions.json", f"v2_mscoco_{part}_annotations.json")
    )
    texts, found = read_json(questions, Questions).questions, read_json(annotations, Annotations).annotations
    refuse_repeated(questions, [each.question_id for each in texts])
    refuse_repeated(annotations, [each.question_id for each in found])
    answered = {each.question_id: each for each in found}
    if apart := answered.keys() ^ {each.question_id for each in texts}:
        path = questions if min(apart) in answered else annotations
        raise BadInput(
            f"{path} lacks question {min(apart)}: {questions.name} and {annotations.name} do not belong together, fetch"
            " them again"
        )
    return {each.question_id: _joined(each, answered[each.question_id], part) for each in texts}


def _joined(question: Question, annotation: Annotation, part: str) -> OfVqa:
    image = f"{part}/COCO_{part}_{annotation.image_id:012d}.jpg"
    return OfVqa(question.question, image, [each.answer for each in annotation.answers], annotation.answer_type)
