"""From a failure back towards the clean input, along the straight line, without gradients."""

from __future__ import annotations

import torch

from attacks.objective import Objective
from attacks.region import Inputs, Region, select

HALVINGS = 4  # of the line between a failure and the clean input


def pulled_back(objective: Objective, region: Region, failing: Inputs) -> Inputs:
    """The point nearest to the clean input, on the line to it, that still fails, by bisection."""
    change = {name: failing[name] - x for name, x in region.clean.items()}
    device = next(iter(failing.values())).device
    safe, fails = torch.zeros(len(region), device=device), torch.ones(len(region), device=device)
    for _ in range(HALVINGS):
        middle = (safe + fails) / 2
        with torch.no_grad():
            failed = objective(region.complete(region.shifted(change, middle))).fails
        safe, fails = torch.where(failed, safe, middle), torch.where(failed, middle, fails)
    return select(fails < 1, region.shifted(change, fails), failing)
