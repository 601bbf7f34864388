"""Does a witness prove its claim? This module shares no code with any attack, on purpose."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from attacks.objective import Objective
from attacks.region import Bounds, Inputs, Range
from attacks.scenario import Ball, Scenario

TOLERANCE = 1e-6  # relative: strengths are recorded as float64 of float32 differences


def verify(
    objective: Objective,
    inputs: Inputs,
    witness: Mapping[str, Tensor],
    bounds: Bounds,
    scenario: Scenario,
    strength: Tensor,
) -> Tensor:
    """Re-check a batch of witnesses, in float32, one verdict per sample.

    A witness passes when the modalities the scenario does not attack are untouched, byte for byte;
    every attacked value lies in its valid range; every ‖δ_m‖ ≤ t · r_m, measured again (for tokens:
    the changed rows are one-hot, and are counted again; other edits alike); and the model fails on
    it, computed again. The objective judges edits that the world changes on their way: see
    `attacks.eot.judged`.

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
            good &= _within(balls[name], x, moved, strength, bounds.get(name))
            valid = bounds.get(name)
            if valid is not None:
                outside = (moved < torch.as_tensor(valid.low)) | (moved > torch.as_tensor(valid.high)) | moved.isnan()
                good &= ~outside.reshape(len(x), -1).any(dim=1)
        else:
            good &= (moved == x).reshape(len(x), -1).all(dim=1)
    with torch.no_grad():
        fails = objective(
            {name: x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for name, x in witness.items()}
        ).fails
    return good & fails


def _within(ball: Ball, x: Tensor, moved: Tensor, strength: Tensor, valid: Range | None) -> Tensor:
    allowed = strength.double() * ball.radius * (1 + TOLERANCE)
    changed = moved != x
    if ball.norm_name == "tokens":
        rows = changed.any(dim=-1)
        one_hot = ((moved != 0).sum(dim=-1) == 1) & (moved == 1).any(dim=-1)
        return (rows.reshape(len(x), -1).sum(dim=1) <= allowed) & (one_hot | ~rows).reshape(len(x), -1).all(dim=1)
    if ball.norm_name == "l0":
        return changed.reshape(len(x), -1).sum(dim=1) <= allowed
    if ball.norm_name == "dead":
        pixels = changed.reshape(len(x), -1, *x.shape[-2:]).any(dim=1)
        dark = (moved == torch.as_tensor(valid.low if valid else float("-inf"))) | ~changed
        return (pixels.flatten(1).sum(dim=1) <= allowed) & dark.flatten(1).all(dim=1)
    if ball.norm_name == "stuck":
        channels = changed.movedim(1 if x.ndim >= 4 else -1, 1).flatten(2) if x.ndim > 2 else changed[:, :, None]
        return channels.any(dim=2).sum(dim=1) <= allowed
    if ball.norm_name in ("patch", "universal"):
        return torch.stack([_in_the_middle(each, float(area)) for each, area in zip(changed, allowed, strict=True)])
    if ball.norm_name == "shift":
        return torch.stack([_is_shift(*each) for each in zip(x, moved, allowed.tolist(), strict=True)])
    change = (moved.double() - x.double()).reshape(len(x), -1)
    order = {"linf": float("inf"), "air": float("inf"), "l2": 2.0, "l1": 1.0}[ball.norm_name]
    size: Tensor = torch.linalg.vector_norm(change, ord=order, dim=1)
    return size <= allowed


def _in_the_middle(changed: Tensor, area: float) -> Tensor:
    """Whether all changes of an image (..., H, W) lie in a square in its middle of at most such a
    share of it.
    """
    height, width = changed.shape[-2:]
    side = min(math.floor(math.sqrt(area * height * width) + TOLERANCE), height, width)
    rest = changed.clone()
    top, left = (height - side) // 2, (width - side) // 2
    rest[..., top : top + side, left : left + side] = False
    return ~rest.any()


def _is_shift(x: Tensor, moved: Tensor, most: float) -> Tensor:
    """Whether a sequence (T, ...) is another one moved by at most so many steps, with zeros in the
    gap.
    """
    length = len(x)
    for steps in range(min(math.floor(most), length - 1) + 1):
        for late, early in ((moved, x), (x, moved)):
            kept = torch.equal(late[steps:], early[: length - steps])
            gap = moved[:steps] if late is moved else moved[length - steps :]
            if kept and not bool(gap.any()):
                return torch.tensor(True, device=x.device)
    return torch.tensor(False, device=x.device)
