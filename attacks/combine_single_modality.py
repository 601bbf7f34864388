"""A joint attack, combined from attacks on single modalities, without gradients."""

from __future__ import annotations

import torch

from attacks.boundary_bisection import bisect_to_boundary
from attacks.norms import per_sample
from attacks.region import take
from attacks.search_state import SearchState


def combine_single_modality(state: SearchState) -> None:
    """Offer the results of attacks on single modalities, all of them together, each at the same
    share of its radius.

    Exact for a linear model without ranges: there the best joint change is the best single ones
    side by side.
    """
    strength = state.best.strength
    rows = ((strength > 0) & strength.isfinite()).nonzero().squeeze(1)
    if not len(rows) or not state.singles:
        return
    region = state.region.take(rows)
    change = {name: torch.zeros_like(x) for name, x in region.clean.items()}
    for found in state.singles:
        alone = found.strength[rows]
        known = alone.isfinite() & (alone > 0)  # a random model may fail untouched in one of its answers
        for name, x in region.clean.items():
            share = per_sample(torch.where(known, strength[rows] / alone, 0.0), x).to(x.dtype)
            change[name] = change[name] + share * (found.witness[name][rows] - x)
    candidate = region.shifted(change, torch.ones(len(rows), device=rows.device))
    with torch.no_grad():
        won = state.fast.take(rows)(region.complete(candidate)).fails.nonzero().squeeze(1)
    if len(won):
        nearer = bisect_to_boundary(state.fast.take(rows[won]), region.take(won), take(candidate, won))
        state.propose(rows[won], nearer, "single attacks side by side")
