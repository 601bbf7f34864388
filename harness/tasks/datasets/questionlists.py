"""Published questions as plain lists, for `harness.tasks.prompts.prompt_task` and networks with a
processor of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import BadInput, unknown
from harness.tasks.datasets.answeredquestions import Published
from harness.tasks.datasets.freequestions import chosen
from harness.tasks.datasets.pope import pope_questions
from harness.tasks.datasets.textvqa import textvqa_questions
from harness.tasks.datasets.vqav2 import vqav2_questions

SETS: dict[str, Callable[[], Published]] = {
    "vqav2": vqav2_questions,
    "pope": pope_questions,
    "textvqa": textvqa_questions,
}


@dataclass(frozen=True, eq=False)
class Lists:
    """Questions about images, in one order.

    Attributes:
        images: uint8 (N, 3, size, size), all in memory.
        questions: as published.
        right: the acceptable answers of each, the most frequent first.
        samples, groups: ids and groups, as those of the task of the same name.
        sources: the paths of the images.
        name: of the data set.
        judge: see `harness.tasks.judges`.
    """

    images: NDArray[np.uint8]
    questions: list[str]
    right: list[tuple[str, ...]]
    samples: list[str]
    groups: list[str]
    sources: list[str]
    name: str
    judge: str

    @property
    def options(self) -> dict[str, Any]:
        """What `prompt_task` takes beside images, questions and answers."""
        names = ("samples", "groups", "sources", "name", "judge")
        return {"splits": "test", **{name: getattr(self, name) for name in names}}


def question_lists(name: str, samples: int = 200, size: int = 336) -> Lists:
    """The questions of a data set as lists.

    >>> given = question_lists("pope", samples=200, size=336)
    >>> prompt_task(processor, given.images, given.questions, given.right, table, **given.options)

    Args:
        name: vqav2, pope or textvqa.
        samples: the most questions, by a seeded choice. 200 images of 336 × 336 take 68 MB.
        size: height and width to which images are stretched.

    Raises:
        NoData: a file or an image is not there.
        BadInput: an unknown name, a number below 1, an image that cannot be read, or a file that is
            damaged or not as published.
    """
    if name not in SETS:
        raise unknown("data set", name, SETS)
    if min(samples, size) < 1:
        raise BadInput(f"question_lists got samples={samples} and size={size}: give numbers from 1")
    given = SETS[name]()
    asked = chosen(given.asked, samples)
    images = given.images(size, asked)
    return Lists(
        np.stack([images[each.image].numpy() for each in asked]),
        [each.question for each in asked],
        [each.right for each in asked],
        [each.sample for each in asked],
        [each.group for each in asked],
        [each.image for each in asked],
        name,
        given.judge,
    )
