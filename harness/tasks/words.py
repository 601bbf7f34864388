"""Questions as one-hot words, and the words that may replace another without changing the
question.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput, unknown
from harness.tasks.modality import Modality

BLANK = ""  # word 0: fills the positions that a question leaves


@dataclass(frozen=True)
class Words:
    """A vocabulary of questions.

    Attributes:
        synonyms: words that mean the same and fit the same places, in groups; a word without
            synonyms is a group of its own. Words are numbered in this order, from 1: 0 is the
            blank.
        positions: the most words that a question has.
    """

    synonyms: tuple[tuple[str, ...], ...]
    positions: int

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """All words by number."""
        return (BLANK, *(word for group in self.synonyms for word in group))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.vocabulary)}

    @cached_property
    def alike(self) -> Tensor:
        """Which words mean the same, bool (vocabulary, vocabulary); the blank equals only
        itself.
        """
        group = torch.tensor([0, *(number for number, words in enumerate(self.synonyms, 1) for _ in words)])
        return group[:, None] == group

    @property
    def shape(self) -> tuple[int, int]:
        return self.positions, len(self.vocabulary)

    def modality(self, name: str = "question") -> Modality:
        """Questions as a modality; an absent one is blank, and an attack at strength 1 replaces one
        word.
        """
        absent = F.one_hot(torch.zeros(self.positions, dtype=torch.int64), len(self.vocabulary)).float()
        return Modality(name, self.shape, "text", 0.0, 1.0, absent, "tokens:1", tokens=self.vocabulary)

    def numbers(self, questions: Sequence[str]) -> Tensor:
        """The words' numbers (N, positions), padded with blanks.

        Raises:
            BadInput: a question has a word that is not in the vocabulary, or too many.
        """
        rows = []
        for question in questions:
            words = question.split()
            if len(words) > self.positions:
                raise BadInput(
                    f"question {question!r} has {len(words)} words, but the largest number is {self.positions}"
                )
            if strange := [word for word in words if word not in self._numbers]:
                raise unknown("word", strange[0], self.vocabulary, where=f" of question {question!r}")
            rows.append([self._numbers[word] for word in words] + [0] * (self.positions - len(words)))
        return torch.tensor(rows)

    def one_hot(self, questions: Sequence[str]) -> Tensor:
        """Questions as one-hot words (N, positions, vocabulary), float32."""
        return F.one_hot(self.numbers(questions), len(self.vocabulary)).float()

    def free(self, questions: Sequence[str]) -> Tensor:
        """Which words may stand at each position, bool (N, positions, vocabulary): a word's
        synonyms, itself among them.

        An attack with these words keeps the question grammatical, and its answer the same.
        """
        return self.alike[self.numbers(questions)]

    def read(self, question: Tensor) -> str:
        """The words of a one-hot question (positions, vocabulary)."""
        return " ".join(word for word in (self.vocabulary[number] for number in question.argmax(1).tolist()) if word)


UNKNOWN = "<unknown>"


def learnt(questions: Sequence[str], most: int, positions: int) -> Words:
    """The most frequent words of free questions, and one word for all others; there are no
    synonyms.
    """
    counts = Counter(word for question in questions for word in split_words(question))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return Words(tuple((word,) for word in (UNKNOWN, *ranked[: most - 1])), positions)


def split_words(question: str) -> list[str]:
    """Lower-case words of a free question, without punctuation."""
    return re.findall(r"[\w']+", question.lower())


def fitted(words: Words, questions: Sequence[str]) -> list[str]:
    """Free questions cut to the positions, with words that are not in the vocabulary replaced by
    the one for them.
    """
    known = set(words.vocabulary)
    return [
        " ".join(word if word in known else UNKNOWN for word in split_words(each)[: words.positions])
        for each in questions
    ]
