"""The attributes of scenes, and the words for them."""

from __future__ import annotations

from harness.tasks.words import Words

SHAPES = ("circle", "square", "triangle", "cross")
SIZES = ("small", "big")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
TEXTURES = ("plain", "striped")
PLACES = ("left", "right", "upper", "lower")
# in the order of the words
ATTRIBUTES = {"size": SIZES, "texture": TEXTURES, "colour": COLOURS, "shape": SHAPES}

RGB = {
    "red": (215, 40, 40),
    "green": (40, 165, 60),
    "blue": (45, 80, 215),
    "yellow": (235, 215, 60),
    "purple": (150, 55, 185),
    "orange": (240, 135, 35),
}

SAID = {  # by value: the words for each
    "small": ("small", "little"),
    "big": ("big", "large"),
    "plain": ("plain", "solid"),
    "striped": ("striped", "banded"),
    "red": ("red", "crimson"),
    "green": ("green", "emerald"),
    "blue": ("blue", "navy"),
    "yellow": ("yellow", "golden"),
    "purple": ("purple", "violet"),
    "orange": ("orange", "amber"),
    "circle": ("circles", "discs"),
    "square": ("squares", "boxes"),
    "triangle": ("triangles", "wedges"),
    "cross": ("crosses", "pluses"),
    "thing": ("things", "objects"),
    "upper": ("upper", "top"),
    "lower": ("lower", "bottom"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "there": ("there", "present", "visible"),
}
FIXED = (
    "how",
    "many",
    "more",
    "are",
    "in",
    "the",
    "half",
    "left",
    "right",
    "of",
    "star",
    "than",
    "any",
    "what",
    "colour",
    "shape",
)

WORDS = Words((*((word,) for word in FIXED), *SAID.values()), positions=13)
