"""Every class that may be the nearest, to first order from the clean inputs: exact where the model
is linear.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.aims import FEW
from attacks.objective import Named, Toward
from attacks.polish import solve
from attacks.search_state import Hunt
from attacks.steps import all_ranked


def look_at_classes(hunt: Hunt) -> None:
    """Offer the first-order solution for each of the nearest classes; beside edits, for the classes
    of largest margin.

    An objective that is no classifier has one margin, which is solved for.

    Where a gradient ranks no edit of the scenario, there is nothing to look at.
    """
    rows = (hunt.best.strength > 0).nonzero().squeeze(1)
    if not len(rows) or not all_ranked(hunt.region):
        return
    classes = _likeliest(hunt, rows) if hunt.region.scenario.edits else _nearest(hunt, rows)
    if classes is None:
        solve(hunt, rows, Named("margin"), hunt.region.take(rows).clean)
        return
    for chosen, worth in classes:
        some = rows[worth]
        if len(some):
            solve(hunt, some, Toward(chosen[worth]), hunt.region.take(some).clean)


def _nearest(hunt: Hunt, rows: Tensor) -> list[tuple[Tensor, Tensor]] | None:
    """Classes of each row, and where anything in range reaches them; None where the objective is no
    classifier.
    """
    nearby, spent = hunt.aims.nearest(hunt.region.scenario, rows, FEW)
    hunt.spend(rows, spent)
    return (
        None
        if nearby is None
        else list(zip(nearby.classes.unbind(1), nearby.distance.isfinite().unbind(1), strict=True))
    )


def _likeliest(hunt: Hunt, rows: Tensor) -> list[tuple[Tensor, Tensor]] | None:
    """The classes of largest margin, and where there are such; None where the objective is no
    classifier.
    """
    with torch.no_grad():
        margins = hunt.fast.take(rows)(hunt.region.take(rows).inputs).margins
    if margins is None:
        return None
    found = margins.topk(min(FEW, margins.shape[1] - 1), dim=1)
    return list(zip(found.indices.unbind(1), found.values.isfinite().unbind(1), strict=True))
