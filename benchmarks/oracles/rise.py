"""How far a linear function can rise inside a ball and a range, and the strength at which it has
risen far enough.

In float64 and without a search: max ⟨w, δ⟩ over ‖δ‖ ≤ ρ and low ≤ δ ≤ high is concave in ρ and has
a closed form between the radii at which one more value meets its bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEVER = float("inf")
ROUNDS = 200  # of Newton's method; a piecewise linear rise ends exactly, after at most as many as it has pieces
CLOSE = 1e-13  # relative


@dataclass(frozen=True, eq=False)
class Rise:
    """The rise of R linear functions of F values each.

    Attributes:
        norm: linf, l2 or l1.
        edges: the radii at which one more value meets its bound, ascending, (R, F); infinite where
            there is none.
        taken: what the values at their bounds add to the rise, after 0 to F of them, (R, F + 1).
        free: what is left to move: Σ|w| for linf, Σw² for l2, the next |w| for l1; (R, F + 1).
        used: of the squared radius (l2) or of the radius (l1), what the values at their bounds
            take, (R, F + 1).
    """

    norm: str
    edges: Tensor
    taken: Tensor
    free: Tensor
    used: Tensor

    @staticmethod
    def of(norm: str, weights: Tensor, low: Tensor, high: Tensor) -> Rise:
        """The rise of the functions ⟨weights, δ⟩, (R, F); every value of δ may go from low ≤ 0 to
        high ≥ 0, (R, F).
        """
        steep, room = weights.abs(), torch.where(weights > 0, high, -low)
        meets = {"linf": room, "l2": torch.nan_to_num(room / steep, nan=NEVER, posinf=NEVER), "l1": -steep}[norm]
        order = meets.argsort(1)
        steep, room, meets = (each.gather(1, order) for each in (steep, room, meets))
        taken = _before(torch.where(steep > 0, steep * room, 0.0))
        if norm == "linf":
            return Rise(norm, room, taken, _from(steep), torch.zeros_like(taken))
        if norm == "l1":
            used = _before(room)
            return Rise(
                norm, used[:, 1:].contiguous(), taken, torch.cat([steep, torch.zeros_like(steep[:, :1])], 1), used
            )
        used, free = _before(torch.where(steep > 0, room.square(), 0.0)), _from(steep.square())
        edges = torch.where(meets.isfinite(), used[:, 1:] + meets.square() * free[:, 1:], NEVER).sqrt()
        return Rise(norm, edges, taken, free, used)

    def at(self, radius: Tensor) -> tuple[Tensor, Tensor]:
        """The largest rise within a radius (R, Q), and how fast it grows with the radius."""
        piece = torch.searchsorted(self.edges, radius.contiguous(), right=True)
        taken, free, used = (table.gather(1, piece) for table in (self.taken, self.free, self.used))
        if self.norm == "linf":
            return taken + free * radius, free
        if self.norm == "l1":
            return taken + torch.where(free > 0, free * (radius - used), 0.0), free
        left = (radius.square() - used).clamp_min(0)
        rise = torch.where(free > 0, (free * left).sqrt(), 0.0)
        slope = torch.where(rise > 0, free * radius / rise, free.sqrt())
        return taken + rise, torch.where(free > 0, slope, 0.0)


def _before(values: Tensor) -> Tensor:
    """Sums of the first 0 to F values, (R, F + 1)."""
    return torch.cat([torch.zeros_like(values[:, :1]), values.cumsum(1)], 1)


def _from(values: Tensor) -> Tensor:
    """Sums of all but the first 0 to F values, (R, F + 1); never below zero."""
    return torch.cat([values.flip(1).cumsum(1).flip(1), torch.zeros_like(values[:, :1])], 1)


def strength(rises: Sequence[tuple[Rise, float]], needed: Tensor) -> Tensor:
    """The smallest t at which Σ rise(t · radius) reaches what is needed (R, Q), each rise with its
    radius; inf where none does.

    Newton's method from 0: the sum is concave, so that every step ends at or below the root.
    """
    t = torch.zeros_like(needed)
    for _ in range(ROUNDS):
        risen, slope = torch.zeros_like(t), torch.zeros_like(t)
        for rise, radius in rises:
            value, growth = rise.at(t * radius)
            risen, slope = risen + value, slope + radius * growth
        short = needed - risen
        step = torch.where(short > CLOSE * needed.abs(), short / slope, 0.0)  # x / 0 is inf: it can rise no further
        t = torch.where(t.isfinite(), t + step, t)
        if not bool((step > CLOSE * t).any()):
            break
    return t
