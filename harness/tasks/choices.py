"""Multiple choice, judged by the likelihood of each choice as an answer in words.

Models are `harness.models.words.choosing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from attacks.errors import BadInput, shown
from harness.tasks.arguments import check_lists

CHOICES = "choices"  # the extra input of the choices' tokens, int64 (K, n), -1 where there is none


def choice_tokens(
    choices: Sequence[Sequence[str]], right: Sequence[Sequence[str]], encode: Callable[[str], Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """The tokens of choices as the extra input `CHOICES`, int64 (N, K, n), and which choice is
    right, int64 (N,). A sample with fewer choices than others has -1 throughout in their place.

    Args:
        choices: of each sample, two or more texts.
        right: of each sample, one of its choices, in a list.

    Raises:
        BadInput: another number of samples, one choice, the same choice twice, one without tokens,
            or a right one that is not among the choices.
    """
    check_lists("answers", right)
    if isinstance(choices, str) or not isinstance(choices, Sequence):
        raise BadInput(f"the choices are {shown(choices)}: give a list of texts for each question")
    if len(choices) != len(right):
        raise BadInput(f"there are {len(choices)} lists of choices for {len(right)} questions: give one for each")
    for number, (texts, (*wanted,)) in enumerate(zip(choices, right, strict=True)):
        if not _different(texts):
            raise BadInput(
                f"sample {number} has the choices {shown(texts)}: give two or more different texts, in a list"
            )
        if len(wanted) != 1 or wanted[0] not in texts:
            raise BadInput(f"sample {number} has the right answers {shown(wanted)}: give one of its choices, in a list")
    coded = [[list(encode(text)) for text in texts] for texts in choices]
    for texts, row in zip(choices, coded, strict=True):
        if not all(row) or len(set(map(tuple, row))) < len(row):
            raise BadInput(f"the choices {shown(texts)} have no tokens, or the same: write them in other words")
    most, longest = max(map(len, coded)), max(len(tokens) for row in coded for tokens in row)
    found = torch.full((len(coded), most, longest), -1)
    for number, row in enumerate(coded):
        for place, tokens in enumerate(row):
            found[number, place, : len(tokens)] = torch.tensor(tokens)
    rows = zip(choices, right, strict=True)
    return found, torch.tensor([list(texts).index(wanted[0]) for texts, wanted in rows])


def _different(texts: object) -> bool:
    """Whether these are two or more different texts, in a list."""
    if not isinstance(texts, Sequence) or isinstance(texts, str) or not all(isinstance(each, str) for each in texts):
        return False
    return len(set(texts)) >= max(2, len(texts))
