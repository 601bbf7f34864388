"""A split of scenes: questions about them, images and proposals, without answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.tasks.batch import Batch
from harness.tasks.datasets.scenes.place import SIDE
from harness.tasks.datasets.scenes.plan import Array, Scenes, planned
from harness.tasks.datasets.scenes.proposals import proposals
from harness.tasks.datasets.scenes.questions import STAR, Question
from harness.tasks.datasets.scenes.render import clutter, objects, pictures
from harness.tasks.datasets.scenes.vocabulary import ATTRIBUTES, PLACES, WORDS
from harness.tasks.modality import Modality

MODALITIES = (
    Modality("image", (3, SIDE, SIDE), "image", 0.0, 255.0, 127.5, "linf:8"),
    WORDS.modality("question"),
)
GIVEN = ("boxes",)
NOTE = (
    "pixels from 0 to 255; words are replaced by synonyms only, so that the answer stays; "
    "object proposals are those of the untouched picture and are not attacked, unless a model recomputes them"
)


@dataclass(frozen=True, eq=False)
class Asked:
    """A question about each scene: its words, its object, and the count."""

    scenes: Scenes
    questions: Sequence[Question]
    counts: Sequence[int]
    words: Sequence[str]


def asked(questions: Sequence[Question], counts: Sequence[int], rng: np.random.RandomState) -> Asked:
    """Scenes in which the questions have the counts, and the questions in words."""
    words = [question.words(rng) for question in questions]
    return Asked(planned(questions, counts, rng), questions, counts, words)


def split_of(name: str, split: str, each: Asked, answers: Tensor, rng: np.random.RandomState) -> Batch:
    """The split as a batch: images, questions, proposals and the answers (N,)."""
    count = len(each.words)
    marks, bits = objects(each.scenes, rng), clutter(count, rng)
    picture = pictures(marks.over(bits), rng)
    boxes = proposals(
        (marks.centres, marks.radii, marks.shape >= 0), (bits.centres, bits.radii, bits.shape >= 0), SIDE, rng
    )
    inputs = {"image": torch.tensor(picture), "question": WORDS.one_hot(each.words), "boxes": torch.tensor(boxes)}
    samples = tuple(f"{name}-{split}-{row:04d}" for row in range(count))
    groups = tuple(question.group for question in each.questions)
    free, known = {"question": WORDS.free(each.words)}, (_annotated(each.scenes), torch.tensor(meant(each)))
    return Batch(samples, inputs, answers, groups, editable=free, annotations=known[0], referred=known[1])


def meant(each: Asked) -> Array:
    """The objects that a question means, bool (S, 15): they have the wanted attributes and, except
    for `more`, stand in its place.
    """
    found = each.scenes.there.copy()
    for row, question in enumerate(each.questions):
        for column, (name, values) in enumerate(ATTRIBUTES.items()):
            if name in question.wanted:
                found[row] &= each.scenes.attributes[row, :, column] == values.index(question.wanted[name])
        if question.place and question.kind == "count":
            axis, behind = divmod(PLACES.index(question.place), 2)
            line = each.scenes.stars[row, axis] if question.of == STAR else SIDE / 2
            found[row] &= (each.scenes.centres[row, :, axis] > line) == bool(behind)
    return found


def _annotated(scenes: Scenes) -> Tensor:
    """The objects of scenes (S, 15, 8): corners, and the numbers of size, texture, colour and
    shape.
    """
    reach = scenes.radii[:, :, None]
    corners = np.concatenate([scenes.centres - reach, scenes.centres + reach], 2) / SIDE
    known = np.concatenate([corners.clip(0, 1), scenes.attributes], 2)
    return torch.tensor(np.where(scenes.there[:, :, None], known, -1.0), dtype=torch.float32)
