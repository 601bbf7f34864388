"""The questions of `vqa`, answered in words, letter by letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from harness.tasks.batch import Batch
from harness.tasks.datasets.scenes.batch import MODALITIES
from harness.tasks.datasets.vqa import ANSWERS, GROUPS, SIZES, vqa
from harness.tasks.problems.free_answers import ANSWERS as TOKENS
from harness.tasks.problems.free_answers import FreeAnswers, tokens_of
from harness.tasks.task import Task

END = 0
NOTE = "pixels from 0 to 255; words are replaced by synonyms only, so that the answer stays"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789 "
LENGTH = 1 + max(map(len, ANSWERS))


def spelled(tokens: Sequence[int]) -> str:
    """The text of letters, without `END`.

    >>> spelled(encoded("red"))
    'red'
    """
    return "".join(LETTERS[token - 1] for token in tokens if token != END)


def encoded(text: str) -> list[int]:
    """The tokens of a text's letters."""
    return [1 + LETTERS.index(letter) for letter in text]


def vqa_words() -> Task:
    """The scenes and questions of `vqa`, answered in words.

    An answer is right if it is the true one after the normalisation of texts (see
    `harness.tasks.judges`): "four" is 4. The modalities are those of `vqa`; the tokens of an answer
    are letters, and an end.
    """
    problem = FreeAnswers(tuple((answer,) for answer in ANSWERS), spelled, 1 + len(LETTERS), LENGTH)
    whole = vqa()
    tokens = tokens_of(problem.right, encoded, END, problem.ways)
    splits = {split: _with_tokens(whole.splits[split].take(range(SIZES[split])), tokens) for split in SIZES}
    return Task("vqa-words", MODALITIES, problem, splits, NOTE, (TOKENS,), GROUPS)


def _with_tokens(batch: Batch, tokens: torch.Tensor) -> Batch:
    """A split of `vqa` with the tokens of its answers in place of proposals."""
    inputs = {name: x for name, x in batch.inputs.items() if name != "boxes"}
    samples = tuple(f"vqa-words-{sample.removeprefix('vqa-')}" for sample in batch.samples)
    return replace(batch, samples=samples, inputs={**inputs, TOKENS: tokens[batch.targets]})
