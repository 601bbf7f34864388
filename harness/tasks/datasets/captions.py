"""Short sentences about the scenes of `vqa`, written word by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from harness.tasks.batch import Batch
from harness.tasks.datasets.scenes.batch import MODALITIES, Asked, asked, meant, split_of
from harness.tasks.datasets.scenes.plan import OBJECTS
from harness.tasks.datasets.scenes.questions import HALF, Question, simple
from harness.tasks.datasets.scenes.vocabulary import ATTRIBUTES, PLACES, SAID, SHAPES
from harness.tasks.problems.free_answers import ANSWERS, FreeAnswers, tokens_of
from harness.tasks.task import Task

SEEDS = {"train": 31_264, "val": 31_265, "test": 31_266}
SIZES = {"train": 2_304, "val": 288, "test": 576}
MOST = 4  # objects of the kind that a scene is planned by
EMPTY = "nothing"
PLURALS = {shape: f"{shape}es" if shape.endswith("s") else f"{shape}s" for shape in SHAPES}
END = 0
WORDS = ("", EMPTY, "and", *map(str, range(1, OBJECTS + 1)), *SHAPES, *PLURALS.values())
LENGTH = 3 * len(SHAPES)  # a number and a shape each, "and" between them, and the end
NOTE = "pixels from 0 to 255; words are replaced by synonyms only, so that the caption stays"


def written(tokens: Sequence[int]) -> str:
    """The words of tokens, without `END`.

    >>> written(encoded("2 circles and 1 cross"))
    '2 circles and 1 cross'
    """
    return " ".join(WORDS[token] for token in tokens if token != END)


def encoded(text: str) -> list[int]:
    """The tokens of a caption's words."""
    return [WORDS.index(word) for word in text.split()]


def captions() -> Task:
    """What is in one half of a scene? The request names the half, and the caption counts the shapes
    in it.

    2,304 train, 288 val and 576 test scenes; the groups are the halves. A caption is
    "2 circles and 1 cross", or "nothing", word by word. The score is 1 less the word error rate
    (judge `transcript`), and a sample fails below 0.5. Inputs are those of `vqa`, without
    proposals.
    """
    drawn = {split: _scenes(split) for split in SIZES}
    found = {split: _captions(each) for split, (each, _) in drawn.items()}
    right = tuple((text,) for text in sorted({text for texts in found.values() for text in texts}))
    problem = FreeAnswers(right, written, len(WORDS), LENGTH, judge="transcript")
    tokens = tokens_of(right, encoded, END, problem.ways)
    rows = {text: row for row, (text,) in enumerate(right)}
    splits = {}
    for split, (each, rng) in drawn.items():
        targets = torch.tensor([rows[text] for text in found[split]])
        splits[split] = _with_tokens(split_of("captions", split, each, targets, rng), tokens)
    return Task("captions", MODALITIES, problem, splits, NOTE, (ANSWERS,), PLACES)


def _scenes(split: str) -> tuple[Asked, np.random.RandomState]:
    """Scenes with a request for one half of each, and the state that draws them."""
    rng = np.random.RandomState(SEEDS[split])
    places = [PLACES[row % len(PLACES)] for row in range(SIZES[split])]
    planned = [Question("count", simple(rng).wanted, place, HALF) for place in places]
    scenes = asked(planned, [rng.randint(MOST + 1) for _ in places], rng).scenes
    requests = [Question("count", {}, place, HALF, place) for place in places]
    words = [f"what are in the {_said(place, rng)} half" for place in places]
    return Asked(scenes, requests, [0] * len(places), words), rng


def _said(place: str, rng: np.random.RandomState) -> str:
    synonyms = SAID.get(place, (place,))
    return synonyms[rng.randint(len(synonyms))]


def _captions(each: Asked) -> list[str]:
    shapes = each.scenes.attributes[:, :, list(ATTRIBUTES).index("shape")]
    return [_caption(row[there]) for row, there in zip(shapes, meant(each), strict=True)]


def _caption(shapes: np.ndarray) -> str:
    counts = {name: int((shapes == number).sum()) for number, name in enumerate(SHAPES)}
    parts = [f"{count} {name if count == 1 else PLURALS[name]}" for name, count in counts.items() if count]
    return " and ".join(parts) or EMPTY


def _with_tokens(batch: Batch, tokens: torch.Tensor) -> Batch:
    inputs = {name: x for name, x in batch.inputs.items() if name != "boxes"}
    return replace(batch, inputs={**inputs, ANSWERS: tokens[batch.targets]})
