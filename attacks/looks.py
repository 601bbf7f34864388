"""Every class that may be the nearest, to first order from the clean inputs: exact where the model
is linear.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.nearest_classes import FEW
from attacks.objective import Named, Toward
from attacks.polish import solve
from attacks.search_state import SearchState
from attacks.steps import all_ranked


def look_at_classes(state: SearchState) -> None:
    """Propose the first-order solution for each of the nearest classes; in scenarios with edits,
    for the classes of largest margin.

    An objective that is not a classifier has one margin, and this is solved.

    If a gradient cannot rank the edits of the scenario, nothing is proposed.
    """
    rows = (state.best.strength > 0).nonzero().squeeze(1)
    if not len(rows) or not all_ranked(state.region):
        return
    classes = _likeliest(state, rows) if state.region.scenario.edits else _nearest(state, rows)
    if classes is None:
        solve(state, rows, Named("margin"), state.region.take(rows).clean)
        return
    for chosen, worth in classes:
        some = rows[worth]
        if len(some):
            solve(state, some, Toward(chosen[worth]), state.region.take(some).clean)


def _nearest(state: SearchState, rows: Tensor) -> list[tuple[Tensor, Tensor]] | None:
    """The classes of each row, and whether a change in range reaches them; None if the objective is
    not a classifier.
    """
    nearby, spent = state.nearest_classes.nearest(state.region.scenario, rows, FEW)
    state.spend(rows, spent)
    return (
        None
        if nearby is None
        else list(zip(nearby.classes.unbind(1), nearby.distance.isfinite().unbind(1), strict=True))
    )


def _likeliest(state: SearchState, rows: Tensor) -> list[tuple[Tensor, Tensor]] | None:
    """The classes of largest margin, and where they exist; None if the objective is not a
    classifier.
    """
    with torch.no_grad():
        margins = state.fast.take(rows)(state.region.take(rows).inputs).margins
    if margins is None:
        return None
    found = margins.topk(min(FEW, margins.shape[1] - 1), dim=1)
    return list(zip(found.indices.unbind(1), found.values.isfinite().unbind(1), strict=True))
