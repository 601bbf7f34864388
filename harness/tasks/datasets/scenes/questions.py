"""Questions about scenes, in words by template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from harness.tasks.datasets.scenes.vocabulary import ATTRIBUTES, FIXED, PLACES, SAID

Kind = Literal["count", "more", "any", "what"]
HALF, STAR = "half", "star"


@dataclass(frozen=True)
class Question:
    """A question about a scene.

    Attributes:
        kind: count (how many are), more (how many more on one side than on the other), any, or what
            (its colour or shape).
        wanted: attributes that an object must have to be counted, by name.
        place: left, right, upper or lower, or "" for anywhere; of `more`, the side that has more.
        of: the reference of the place: the middle of the image (half), or the star.
        group: simple or complex, as TallyQA separates them; in `vqa` the type of question.
        sought: for `what`, the attribute in question.
    """

    kind: Kind
    wanted: Mapping[str, str] = field(default_factory=dict)
    place: str = ""
    of: str = HALF
    group: str = "simple"
    sought: str = ""

    def words(self, rng: np.random.RandomState) -> str:
        """The question in words, each of its synonyms as likely as the others."""
        return " ".join(_synonym(word, rng) for word in self._template())

    def _template(self) -> list[str]:
        named = [self.wanted[name] for name in ATTRIBUTES if name in self.wanted]
        named += [] if "shape" in self.wanted else ["thing"]
        if self.kind == "any":
            return ["are", "any", *named, "there"]
        if self.kind == "what":
            return ["what", self.sought, "are", "the", *named]
        if self.kind == "more":
            other = PLACES[PLACES.index(self.place) ^ 1]
            return ["how", "many", "more", *named, "are", "in", "the", self.place, "than", "the", other, "half"]
        return ["how", "many", *named, "are", *self._where()]

    def _where(self) -> list[str]:
        if not self.place:
            return ["there"]
        if self.of == HALF:
            return ["in", "the", self.place, "half"]
        relation = {"left": ["left", "of"], "right": ["right", "of"], "upper": ["above"], "lower": ["below"]}
        return [*relation[self.place], "the", "star"]


def _synonym(word: str, rng: np.random.RandomState) -> str:
    if word in FIXED:
        return word
    return SAID[word][rng.randint(len(SAID[word]))]


def simple(rng: np.random.RandomState) -> Question:
    """How many of a shape, of a colour, or of both: an object and at most one attribute of it."""
    return Question("count", _attributes([("shape",), ("colour",), ("colour", "shape")][rng.randint(3)], rng))


def complex_(rng: np.random.RandomState) -> Question:
    """Two attributes or more, a half of the image, a relation to the star, or a comparison of two
    halves.
    """
    form = rng.randint(4)
    if form == 0:
        named = [
            ("size", "colour", "shape"),
            ("texture", "colour", "shape"),
            ("size", "texture", "shape"),
            ("size", "texture", "colour"),
        ]
        return Question("count", _attributes(named[rng.randint(4)], rng), group="complex")
    wanted, place = simple(rng).wanted, PLACES[rng.randint(4)]
    if form == 3:
        return Question("more", wanted, place, group="complex")
    return Question("count", wanted, place, STAR if form == 2 else HALF, "complex")


def yes_or_no(rng: np.random.RandomState) -> Question:
    """Are there any of one or two attributes?"""
    named = [("colour", "shape"), ("size", "shape"), ("texture", "colour"), ("texture", "shape")]
    return Question("any", _attributes(named[rng.randint(4)], rng), group="yes-no")


def attribute(rng: np.random.RandomState) -> Question:
    """Questions about the colour or the shape of the thing with two attributes. There is one such
    thing in the scene.
    """
    if rng.randint(2):
        return Question("what", _attributes(("size", "texture", "shape"), rng), group="attribute", sought="colour")
    return Question("what", _attributes(("size", "texture", "colour"), rng), group="attribute", sought="shape")


def _attributes(names: tuple[str, ...], rng: np.random.RandomState) -> dict[str, str]:
    return {name: ATTRIBUTES[name][rng.randint(len(ATTRIBUTES[name]))] for name in names}
