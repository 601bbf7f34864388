"""Does a witness prove what is claimed of it? Shares no code with any attack, on purpose."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from attacks.objective import Objective
from attacks.region import Bounds, Inputs
from attacks.scenario import Ball, Scenario

TOLERANCE = 1e-6  # relative: strengths are recorded as float64 of float32 differences


def verify(
    objective: Objective, inputs: Inputs, witness: Mapping[str, Tensor], bounds: Bounds, scenario: Scenario, strength: Tensor
) -> Tensor:
    """Re-check a batch of witnesses, in float32, one verdict per sample.

    A witness passes when the modalities the scenario does not attack are untouched, byte for byte;
    every attacked value lies in its valid range; every ‖δ_m‖ ≤ t · r_m, measured anew (of tokens: the
    changed rows are one-hot, and counted anew); and the model fails on it, asked anew.

    Args:
        witness: full inputs, (B, ...) per modality.
        strength: the claimed strength t, (B,).

    Returns:
        bool (B,).
    """
    good = torch.ones(len(strength), dtype=torch.bool, device=strength.device)
    balls = {ball.modality: ball for ball in scenario.attacked}
    for name, x in inputs.items():
        moved = witness[name]
        if name in balls:
            good &= _within(balls[name], x, moved, strength)
            valid = bounds.get(name)
            if valid is not None:
                outside = (moved < torch.as_tensor(valid.low)) | (moved > torch.as_tensor(valid.high)) | moved.isnan()
                good &= ~outside.reshape(len(x), -1).any(dim=1)
        else:
            good &= (moved == x).reshape(len(x), -1).all(dim=1)
    with torch.no_grad():
        fails = objective({name: x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for name, x in witness.items()}).fails
    return good & fails


def _within(ball: Ball, x: Tensor, moved: Tensor, strength: Tensor) -> Tensor:
    if ball.norm_name == "tokens":
        changed = (moved != x).any(dim=-1)
        one_hot = ((moved != 0).sum(dim=-1) == 1) & (moved == 1).any(dim=-1)
        edits = changed.reshape(len(x), -1).sum(dim=1)
        return (edits <= strength.double() * ball.radius * (1 + TOLERANCE)) & (one_hot | ~changed).reshape(len(x), -1).all(dim=1)
    change = (moved.double() - x.double()).reshape(len(x), -1)
    order = {"linf": float("inf"), "l2": 2.0, "l1": 1.0}[ball.norm_name]
    size: Tensor = torch.linalg.vector_norm(change, ord=order, dim=1)
    return size <= strength.double() * ball.radius * (1 + TOLERANCE)
