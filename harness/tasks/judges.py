"""Judges of free answers: from the text that a model says and the acceptable answers to a score.

Texts are compared after the normalisation of the VQA evaluation (Antol et al., ICCV 2015): lower
case, without articles and punctuation, number words as digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from attacks.errors import BadInput, shown, unknown
from harness.tasks.words import split_words

Judge = Callable[[str, Sequence[str]], float]
"""Takes what was said and the acceptable answers; gives a score in [0, 1]."""

ARTICLES = {"a", "an", "the"}
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)} | {"zero": "0"}
VOICES = 3  # so many people who gave an answer make it fully right
SHORTEST = 0.5  # a likeness of two texts below this counts as 0, as in ANLS (Biten et al., ICCV 2019)
TOLERANCE = 0.05  # of a number, as a share of it, as in ChartQA (Masry et al., ACL 2022)


def normalised(text: str) -> str:
    """The words of a text that count.

    >>> normalised("The Three  red balls, (two).")
    '3 red balls 2'
    """
    plain = re.sub(r"(?<=\d),(?=\d)", "", text.lower())
    words = re.findall(r"-?(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?|[^\W_]+(?:'[^\W_]+)?", plain)
    kept = [DIGITS.get(word, word) for word in words if word not in ARTICLES]
    return " ".join(kept or words) or plain.strip()


def exact(said: str, right: Sequence[str]) -> float:
    """1 where the text is an acceptable answer."""
    return float(normalised(said) in map(normalised, right))


def vqa(said: str, right: Sequence[str]) -> float:
    """The soft accuracy of VQA: an answer that three of the other people gave is fully right, on
    average over all that leave one person out.

    >>> vqa("2", ["two"] * 2 + ["three"] * 8)
    0.6
    """
    matches = sum(normalised(said) == normalised(each) for each in right)
    if len(right) <= VOICES:
        return float(matches > 0)
    left = [min((matches - own) / VOICES, 1.0) for own in [1] * matches + [0] * (len(right) - matches)]
    return round(sum(left) / len(left), 12)


def contains(said: str, right: Sequence[str]) -> float:
    """1 where an acceptable answer stands in the text as whole words.

    >>> contains("I see a red ball.", ["red"]), contains("It was bored", ["red"])
    (1.0, 0.0)
    """
    words = f" {normalised(said)} "
    return float(any(f" {normalised(each)} " in words for each in right if normalised(each)))


def yes_or_no(said: str, right: Sequence[str]) -> float:
    """1 where the first yes or no of the text is that of an acceptable answer.

    >>> yes_or_no("No, there is none.", ["no"]), yes_or_no("Perhaps", ["no"])
    (1.0, 0.0)
    """
    first = next((word for word in normalised(said).split() if word in ("yes", "no")), "")
    return float(first != "" and any(normalised(each).split()[:1] == [first] for each in right))


def choice(said: str, right: Sequence[str]) -> float:
    """1 where the text begins with the letter of an acceptable answer.

    >>> choice("(B) a dog", ["b"]), choice("B", ["(B) a dog"]), choice("A dog", ["A"])
    (1.0, 1.0, 0.0)
    """
    letter = _letter(said)
    return float(letter is not None and letter in map(_letter, right))


def _letter(text: str) -> str | None:
    """The letter that a text begins with, alone or with a sign behind it: not that of "A dog"."""
    found = re.match(r"\W*([A-Za-z])(?:\s*[).:,\]]|\W*$)", text)
    return None if found is None else found[1].lower()


def numeric(said: str, right: Sequence[str], tolerance: float = TOLERANCE) -> float:
    """1 where the first number of the text differs from an acceptable one by at most this share of
    it.

    >>> numeric("about 1,020 people", ["1000"]), numeric("none", ["0"]), numeric("many", ["3"])
    (1.0, 1.0, 0.0)
    """
    number = _number(said)
    wanted = [found for each in right if (found := _number(each)) is not None]
    return float(number is not None and any(abs(number - each) <= tolerance * abs(each) for each in wanted))


def _number(text: str) -> float | None:
    found = re.search(r"-?(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?", normalised(text))
    return None if found is None else float(found[0])


def likeness(said: str, right: Sequence[str]) -> float:
    """The normalised Levenshtein similarity to the nearest acceptable answer, 0 below one half
    (ANLS).

    >>> likeness("helo", ["hello"]), likeness("xyz", ["hello"])
    (0.8, 0.0)
    """
    best = max((_alike(said.strip().lower(), each.strip().lower()) for each in right), default=0.0)
    return best if best >= SHORTEST else 0.0


def _alike(first: str, second: str) -> float:
    return 1 - _distance(first, second) / max(len(first), len(second), 1)


def _distance(first: Sequence[str], second: Sequence[str]) -> int:
    """The fewest insertions, deletions and replacements from one text, or list of words, to the
    other.
    """
    row = list(range(len(second) + 1))
    for place, letter in enumerate(first, 1):
        before, row[0] = row[0], place
        for at, other in enumerate(second, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (letter != other))
    return row[-1]


def transcript(said: str, right: Sequence[str]) -> float:
    """1 less the word error rate against the nearest acceptable answer, and at least 0. Case and
    punctuation do not count; "2" is not "two".

    >>> transcript("the cat sat", ["THE CAT SAT DOWN"])
    0.75
    """
    errors, wanted = _word_errors(split_words(said), right)
    return max(0.0, 1 - errors / max(len(wanted), 1))


def transcript_errors(said: str, right: Sequence[str]) -> tuple[int, int, int, int]:
    """Against the acceptable answer with the lowest word error rate: wrong words, its words, wrong
    letters and its letters, spaces between words included.

    >>> transcript_errors("the cat sat", ["THE CAT SAT DOWN"])
    (1, 4, 5, 16)
    """
    heard = split_words(said)
    errors, wanted = _word_errors(heard, right)
    letters = " ".join(wanted)
    return errors, len(wanted), _distance(" ".join(heard), letters), len(letters)


def _word_errors(heard: Sequence[str], right: Sequence[str]) -> tuple[int, list[str]]:
    """The wrong words against the nearest acceptable answer, and the words of this answer."""
    found = [(_distance(heard, wanted), wanted) for wanted in map(split_words, right)]
    return min(found, key=lambda each: each[0] / max(len(each[1]), 1))


@dataclass(frozen=True)
class Rates:
    """Metrics of a judge over a set: all errors divided by all words, or all letters.

    Attributes:
        names: of the metrics.
        count: takes a text and the acceptable answers; gives, for each metric, the errors and the
            number that they are divided by.
    """

    names: tuple[str, ...]
    count: Callable[[str, Sequence[str]], tuple[int, ...]]


RATES = {"transcript": Rates(("wer", "cer"), transcript_errors)}
JUDGES: dict[str, Judge] = {
    "exact": exact,
    "vqa": vqa,
    "contains": contains,
    "yes-no": yes_or_no,
    "choice": choice,
    "numeric": numeric,
    "likeness": likeness,
    "transcript": transcript,
}


def judge_named(judge: str | Judge) -> tuple[str, Judge]:
    """A judge by its name, with ``numeric:0.1`` for another tolerance, or a function of one's own.

    Raises:
        BadInput: no such judge, or its tolerance is not a number from 0.
    """
    if not isinstance(judge, str) and not callable(judge):
        raise BadInput(f"the judge is {shown(judge)}: give a name ({', '.join(JUDGES)}), or a function of texts")
    if not isinstance(judge, str):
        return getattr(judge, "__name__", type(judge).__name__), judge
    name, _, more = judge.partition(":")
    if name not in JUDGES:
        raise unknown("judge", name, JUDGES)
    if not more:
        return judge, JUDGES[name]
    try:
        tolerance = float(more)
    except ValueError:
        tolerance = -1.0
    if name != "numeric" or not 0 <= tolerance < float("inf"):
        raise BadInput(f"judge {judge!r}: only numeric takes a tolerance, a number from 0, as numeric:0.1")
    return judge, partial(numeric, tolerance=tolerance)
