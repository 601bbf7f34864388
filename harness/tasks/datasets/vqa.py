"""Questions of three types about rendered scenes, with one vocabulary of answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from harness.tasks.batch import Batch
from harness.tasks.datasets.scenes.batch import GIVEN, MODALITIES, NOTE, Asked, asked, split_of
from harness.tasks.datasets.scenes.plan import OBJECTS
from harness.tasks.datasets.scenes.questions import Question, attribute, complex_, simple, yes_or_no
from harness.tasks.datasets.scenes.vocabulary import ATTRIBUTES, COLOURS, SHAPES
from harness.tasks.problems.problem import Classification
from harness.tasks.task import Task

SEEDS = {"train": 20_264, "val": 20_265, "test": 20_266}
SIZES = {"train": 4_608, "val": 576, "test": 1_152}  # a third of each type
GROUPS = ("count", "yes-no", "attribute")
ANSWERS = (*map(str, range(OBJECTS + 1)), "yes", "no", *COLOURS, *SHAPES)
MOST = 4  # things that a yes is about


def vqa() -> Task:
    """The scenes of `counting` with three types of question: how many, are there any, and what
    colour or shape.

    4,608 train, 576 val and 1,152 test scenes, a third of each type, which are the groups. One
    classification over 28 answers: the counts from 0 to 15, yes, no, six colours, four shapes.
    Counts are balanced, as are yes and no; in questions about a colour or shape, one thing in the
    scene has the named attributes. Inputs are those of `counting`.
    """
    splits = {split: _split(split) for split in SIZES}
    return Task("vqa", MODALITIES, Classification(len(ANSWERS)), splits, NOTE, GIVEN, GROUPS)


def scenes_of(split: str, rng: np.random.RandomState | None = None) -> Asked:
    """The scenes, questions and counts of a split, before they are drawn."""
    rng = rng or np.random.RandomState(SEEDS[split])
    third = SIZES[split] // 3
    makers: list[tuple[Callable[[np.random.RandomState], Question], int]] = []
    for row in range(third):
        makers.append((_how_many(row), row // 2 % (OBJECTS + 1)))
        makers.append((yes_or_no, 1 + rng.randint(MOST) if row % 2 else 0))
        makers.append((attribute, 1))
    chosen = [makers[row] for row in rng.permutation(len(makers))]
    return asked([make(rng) for make, _ in chosen], [count for _, count in chosen], rng)


def _how_many(row: int) -> Callable[[np.random.RandomState], Question]:
    def make(rng: np.random.RandomState) -> Question:
        question = (simple, complex_)[row % 2](rng)
        return Question(question.kind, question.wanted, question.place, question.of, "count")

    return make


def answers(each: Asked) -> list[str]:
    """The answer of every question, in words."""
    return [
        _answer(question, count, attributes)
        for question, count, attributes in zip(each.questions, each.counts, each.scenes.attributes, strict=True)
    ]


def _answer(question: Question, count: int, attributes: np.ndarray) -> str:
    if question.kind == "any":
        return "yes" if count else "no"
    if question.kind != "what":
        return str(count)
    wanted = {
        column: values.index(question.wanted[name])
        for column, (name, values) in enumerate(ATTRIBUTES.items())
        if name in question.wanted
    }
    meant = next(each for each in attributes if all(each[column] == value for column, value in wanted.items()))
    sought = list(ATTRIBUTES).index(question.sought)
    return ATTRIBUTES[question.sought][int(meant[sought])]


def _split(split: str) -> Batch:
    rng = np.random.RandomState(SEEDS[split])
    each = scenes_of(split, rng)
    targets = torch.tensor([ANSWERS.index(answer) for answer in answers(each)])
    return split_of("vqa", split, each, targets, rng)
