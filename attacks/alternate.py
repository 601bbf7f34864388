"""Edits and continuous changes together: a search of the continuous part while the text stays
edited.
"""

from __future__ import annotations

from attacks.fmn import fmn
from attacks.hotflip import Edited, hotflip
from attacks.objective import Named
from attacks.region import take
from attacks.search_state import SearchState

WALKED = (1, 2, 4, 8)  # after so many edits the continuous part is searched


def alternate(state: SearchState, steps: int) -> None:
    """Edit more and more tokens (HotFlip), and with few, twice as many, ...

    of them walk in the continuous part (FMN).

    A sample is searched further only if its edits alone need less than the best known strength.
    """
    for number, edited in enumerate(hotflip(state), start=1):
        if number in WALKED and state.region.scenario.continuous.attacked:
            _walk(state, edited, steps)


def _walk(state: SearchState, edited: Edited, steps: int) -> None:
    """A minimum-norm pass over the continuous part, from the best witness's."""
    left = (state.best.strength[edited.rows] > edited.strength).nonzero().squeeze(1)
    if not len(left):
        return
    rows, texts = edited.rows[left], take(edited.texts, left)
    region = state.region.take(rows).continuous(texts)
    start = {name: state.best.witness[name][rows] for name in region.ranges}
    nearest = fmn(state.fast.take(rows), region, state.limit, steps=steps, loss=Named("margin"), start=start)
    state.spend(rows, nearest.gradients)
    met = nearest.fails.nonzero().squeeze(1)
    state.propose(rows[met], {**take(nearest.inputs, met), **take(texts, met)}, f"hotflip and fmn-{steps}")
