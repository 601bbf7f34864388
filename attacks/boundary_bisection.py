"""From a failing point towards another point, along the straight line, without gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from attacks.norms import per_sample
from attacks.objective import Objective
from attacks.region import Inputs, Region, select

HALVINGS = 4  # of the line between a failure and the point


def bisect_to_boundary(objective: Objective, region: Region, failing: Inputs, towards: Inputs | None = None) -> Inputs:
    """The point nearest to `towards` (the clean input if absent), on the line to it, that still
    fails, by bisection.
    """
    origin = region.clean if towards is None else towards
    change = {name: failing[name] - x for name, x in origin.items()}
    device = next(iter(failing.values())).device
    safe, fails = torch.zeros(len(region), device=device), torch.ones(len(region), device=device)
    for _ in range(HALVINGS):
        middle = (safe + fails) / 2
        with torch.no_grad():
            failed = objective(region.complete(_along(region, origin, change, middle))).fails
        safe, fails = torch.where(failed, safe, middle), torch.where(failed, middle, fails)
    return select(fails < 1, _along(region, origin, change, fails), failing)


def _along(region: Region, origin: Mapping[str, Tensor], change: Mapping[str, Tensor], share: Tensor) -> Inputs:
    """The origin moved by a share (B,) of the change, kept in range."""
    return {
        name: valid.clamp(origin[name] + per_sample(share, origin[name]) * change[name])
        for name, valid in region.ranges.items()
    }
