"""A random model over stored draws: the same sample gets the same noise in every call.

One forward pass answers a whole batch in one draw. The noise of a sample then depends on its place
in that batch, so every sample has a fixed place, and batches are filled to a fixed size.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from attacks.randomness import keyed_seed
from attacks.region import Inputs
from harness.tasks.batch import PLACE

NUMPY_SEEDS = 2**32


class Drawn(nn.Module):
    """A random model over stored draws: (B, n, *shape) for inputs with their `place`.

    Args:
        size: of every batch that the model gets.
        seed: the seed of the run; the draws are keyed on it.
    """

    def __init__(self, model: nn.Module, draws: int, size: int, seed: int) -> None:
        super().__init__()
        self.model, self.draws, self.size, self.seed = model, draws, size, seed

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        places = inputs[PLACE]
        given = {name: x for name, x in inputs.items() if name != PLACE}
        rows = [each.nonzero().squeeze(1) for each in _without_repeats(places)]
        found = [self._at(given, present, each, places[each]) for each in rows]
        order = torch.cat(rows).argsort()
        return torch.cat(found)[order]

    def _at(self, inputs: Inputs, present: Tensor | None, rows: Tensor, places: Tensor) -> Tensor:
        """The answers to some rows, each at its place of a full batch."""
        whole = {name: self._filled(x, rows, places) for name, x in inputs.items()}
        there = None if present is None else self._filled(present, rows, places)
        answers = []
        for draw in range(self.draws):
            with seeded(keyed_seed("draw", self.seed, draw), places.device):
                answers.append(self.model(whole, None if there is None else there.clone())[places])
        return torch.stack(answers, 1)

    def _filled(self, x: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        first = x[rows[:1]].detach()
        return first.expand(self.size, *x.shape[1:]).clone().index_copy(0, places, x[rows])


def _without_repeats(places: Tensor) -> Iterator[Tensor]:
    """Masks (B,) that together are all rows, none of them with two rows at one place."""
    same = (places[:, None] == places).tril(-1).sum(1)
    for turn in range(int(same.max()) + 1):
        yield same == turn


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """A block whose global random numbers come from this seed; the states are as before after
    it.
    """
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % NUMPY_SEEDS)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
