"""Corruptions of a text, one-hot (positions, vocabulary).

A letter is a position that does not hold the absent row; blanks and padding that do are passed
over. The result is one-hot where the absent row is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.corruptions.scale import absent
from harness.tasks import Modality

RATES = (0.05, 0.1, 0.2, 0.35, 0.5)  # chance of each letter to be struck, per severity 1 to 5


def typos(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Letters are replaced by random others, each with a chance of 5 to 50 %.

    Raises:
        BadInput: a letter is not one-hot, so other letters are unknown.
    """
    letters, blank = _letters(x, modality), absent(x, modality)
    one_hot = ((x == 0) | (x == 1)).all(1) & (x.sum(1) == 1)
    if not bool(one_hot[letters].all()):
        raise BadInput(
            f"modality {modality.name!r} holds rows that are not one-hot: typos need one letter per position"
        )
    struck = _struck(x, severity, letters, generator)
    draws = torch.rand(x.shape, generator=generator).to(x)
    draws = draws.masked_fill(blank == 1, -2).masked_fill(x == 1, -1)  # itself only where the vocabulary has no other
    return torch.where(struck[:, None], F.one_hot(draws.argmax(1), x.shape[1]).to(x), x)


def deletion(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Letters are left out, each with a chance of 5 to 50 %; the rest moves up, absent rows fill
    the end.
    """
    kept = x[~_struck(x, severity, _letters(x, modality), generator)]
    return torch.cat([kept, absent(x, modality)[len(kept) :]])


def swap(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Letters change places with the next, each with a chance of 5 to 50 %; no letter moves
    twice.
    """
    letters = _letters(x, modality)
    draws = torch.rand(len(x), generator=generator)
    struck, free, order = draws < RATES[severity - 1], letters.tolist(), list(range(len(x)))
    for place in draws.argsort().tolist():  # the smallest draw first, so that swaps of a lower severity stay
        if struck[place] and place + 1 < len(x) and free[place] and free[place + 1]:
            free[place] = free[place + 1] = False
            order[place], order[place + 1] = place + 1, place
    return x[torch.tensor(order, device=x.device)]


def _letters(x: Tensor, modality: Modality) -> Tensor:
    return (x != absent(x, modality)).any(1)


def _struck(x: Tensor, severity: int, letters: Tensor, generator: torch.Generator) -> Tensor:
    return letters & (torch.rand(len(x), generator=generator).to(x.device) < RATES[severity - 1])
