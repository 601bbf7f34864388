"""The norms a perturbation is measured in.

All functions are per sample and batch-safe: `delta` has shape (B, ...), sizes and radii have shape
(B,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

NEWTON_STEPS = 12  # of the projections on a ball inside a box; each ends where no further value meets its bound
L1_BISECTIONS = 40  # halvings of the threshold's bracket: past float32 resolution
ENDLESS = 1e30  # in the place of an infinite room, where rooms are added up
L1_REACH = 4.0  # Euclidean length of a step across the L1 ball: the longer, the sparser the projected change

Support = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps a radius (B,) to the most that changes of that size add to ⟨weights, ·⟩, and to its slope in
the radius; both float64 (B,)."""


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Values of shape (B,) shaped to broadcast against `like` (B, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


@runtime_checkable
class Norm(Protocol):
    """The operations on a norm that attacks need."""

    name: str

    def size(self, delta: Tensor) -> Tensor:
        """‖delta‖ per sample, (B,)."""

    def dual(self, weights: Tensor) -> Tensor:
        """The dual norm per sample, (B,): the most a unit change can add to ⟨weights, ·⟩."""

    def steepest(self, gradient: Tensor) -> Tensor:
        """The unit change that adds most to ⟨gradient, ·⟩; zero where the gradient is."""

    def ascent(self, gradient: Tensor) -> Tensor:
        """The direction of a step that is projected afterwards; a length of 1 crosses the unit
        ball.
        """

    def project(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The nearest change (Euclidean) with ‖·‖ ≤ radius and low ≤ · ≤ high; needs low ≤ 0 ≤
        high.
        """

    def support(self, weights: Tensor, low: Tensor, high: Tensor) -> Support:
        """The most that changes in range, low ≤ · ≤ high, add to ⟨weights, ·⟩: concave in the
        radius.
        """

    def extreme(self, weights: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The change with ‖·‖ ≤ radius and low ≤ · ≤ high that adds most to ⟨weights, ·⟩; zero
        where the weights are.
        """

    def random(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """One uniform draw from the unit ball, of the shape of one sample, on the CPU."""


class Linf:
    """‖δ‖∞ = max |δ_i|."""

    name = "linf"

    def size(self, delta: Tensor) -> Tensor:
        return delta.abs().flatten(1).amax(1)

    def dual(self, weights: Tensor) -> Tensor:
        return weights.abs().flatten(1).sum(1)

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def ascent(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def project(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        bound = per_sample(radius, delta)
        return delta.clamp(torch.maximum(low, -bound), torch.minimum(high, bound))

    def support(self, weights: Tensor, low: Tensor, high: Tensor) -> Support:
        steepness, room = weights.abs().flatten(1), _room(weights, low, high)

        def most(radius: Tensor) -> tuple[Tensor, Tensor]:
            bound = radius.to(room.dtype)[:, None]
            free = room > bound
            return _total(steepness * torch.minimum(room, bound)), _total(torch.where(free, steepness, 0.0))

        return most

    def extreme(self, weights: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return self.project(weights.sign() * per_sample(radius, weights), radius, low, high)

    def random(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1


class L2:
    """‖δ‖₂ = sqrt(Σ δ_i²)."""

    name = "l2"

    def size(self, delta: Tensor) -> Tensor:
        return delta.flatten(1).square().sum(1).sqrt()

    def dual(self, weights: Tensor) -> Tensor:
        return self.size(weights)

    def steepest(self, gradient: Tensor) -> Tensor:
        return _normalised(gradient)

    def ascent(self, gradient: Tensor) -> Tensor:
        return _normalised(gradient)

    def project(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Stationarity gives clamp(f · delta, low, high), f ≤ 1 the largest factor that fits.

        In s = f², the squared size is concave and piecewise linear: Newton's method from the left
        needs no safeguard, every iterate is feasible, and it is exact after as many steps as it
        meets pieces.
        """
        factor = _factor(delta, _room(delta, low, high), radius, most=1.0)
        return (delta * per_sample(factor, delta)).clamp(low, high)

    def support(self, weights: Tensor, low: Tensor, high: Tensor) -> Support:
        """The best change is clamp(f · weights, low, high): its size grows by 1 where ⟨weights, ·⟩
        grows by radius / f.
        """
        room, direction, size = _room(weights, low, high), _normalised(weights), self.size(weights).double()
        steepness = direction.abs().flatten(1)
        at_once = torch.where(room > 0, steepness, 0.0).square().sum(1).sqrt().double()

        def most(radius: Tensor) -> tuple[Tensor, Tensor]:
            factor = _factor(direction, room, radius.to(room.dtype))
            change = torch.minimum(steepness * factor[:, None], room)
            free = ((change < room) & (steepness > 0)).any(1)
            rate = torch.where(factor > 0, radius / factor.double(), at_once)
            return size * _total(steepness * change), size * torch.where(free, rate, 0.0)

        return most

    def extreme(self, weights: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        direction = _normalised(weights)
        factor = _factor(direction, _room(weights, low, high), radius)
        return (direction * per_sample(factor, weights)).clamp(low, high)

    def random(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        direction = torch.randn(shape, generator=generator)
        distance: Tensor = torch.rand((), generator=generator) ** (1 / max(direction.numel(), 1))
        drawn: Tensor = direction / torch.linalg.vector_norm(direction) * distance
        return drawn


class L1:
    """‖δ‖₁ = Σ |δ_i|."""

    name = "l1"

    def size(self, delta: Tensor) -> Tensor:
        return delta.abs().flatten(1).sum(1)

    def dual(self, weights: Tensor) -> Tensor:
        return weights.abs().flatten(1).amax(1)

    def steepest(self, gradient: Tensor) -> Tensor:
        flat = gradient.flatten(1)
        place = flat.abs().argmax(1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, place, flat.gather(1, place).sign()).view_as(gradient)

    def ascent(self, gradient: Tensor) -> Tensor:
        """Not the steepest direction, which moves a single value: here several values may move, and
        the projection makes the step sparse.
        """
        return L1_REACH * _normalised(gradient)

    def project(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Stationarity gives sign(delta) · clamp(|delta| - λ, 0, bound); the smallest λ ≥ 0 that
        fits, by bisection.
        """
        sizes, bounds = delta.abs().flatten(1), torch.where(delta > 0, high, -low).flatten(1)
        budget = radius.unsqueeze(1)
        fits = sizes.amax(1, keepdim=True)
        too_small = torch.zeros_like(fits)
        for _ in range(L1_BISECTIONS):
            middle = (too_small + fits) / 2
            inside = torch.minimum((sizes - middle).clamp_min(0), bounds).sum(1, keepdim=True) <= budget
            fits, too_small = torch.where(inside, middle, fits), torch.where(inside, too_small, middle)
        untouched = torch.minimum(sizes, bounds).sum(1, keepdim=True) <= budget
        threshold = torch.where(untouched, 0.0, fits)
        return (torch.minimum((sizes - threshold).clamp_min(0), bounds) * delta.flatten(1).sign()).view_as(delta)

    def support(self, weights: Tensor, low: Tensor, high: Tensor) -> Support:
        """A fractional knapsack: the steepest values first, each to its bound."""
        steepness, room, before, _ = _in_order(weights, low, high)

        def most(radius: Tensor) -> tuple[Tensor, Tensor]:
            left = radius[:, None] - before
            spent = torch.minimum(left.clamp_min(0), room)
            return (steepness * spent).sum(1), torch.where((left >= 0) & (left < room), steepness, 0.0).amax(1)

        return most

    def extreme(self, weights: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        _, room, before, order = _in_order(weights, low, high)
        spent = torch.minimum((radius.double()[:, None] - before).clamp_min(0), room).to(weights.dtype)
        return (torch.zeros_like(spent).scatter(1, order, spent) * weights.flatten(1).sign()).view_as(weights)

    def random(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Exponential magnitudes, one more than there are values, are uniform on the simplex once
        divided by their sum.
        """
        sizes = -torch.rand(torch.Size((shape.numel() + 1,)), generator=generator).clamp_min(1e-12).log()
        signs = torch.randint(0, 2, (shape.numel(),), generator=generator) * 2 - 1
        return (sizes[:-1] / sizes.sum() * signs).reshape(shape)


def _total(values: Tensor) -> Tensor:
    return values.sum(1, dtype=torch.float64)


def _room(direction: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """How far each value may go along the direction, (B, values); 0 where it does not go."""
    return torch.where(direction > 0, high, torch.where(direction < 0, -low, 0.0)).flatten(1)


def _factor(delta: Tensor, room: Tensor, radius: Tensor, most: float = float("inf")) -> Tensor:
    """The largest f ≤ `most` with ‖clamp(f · delta)‖₂ ≤ radius, by Newton's method in f²: see
    `L2.project`.
    """
    squares, bounds = delta.square().flatten(1), room.square()
    budget = radius.square().unsqueeze(1)
    share = torch.zeros_like(budget)
    for _ in range(NEWTON_STEPS):
        clipped = squares * share >= bounds
        free = torch.where(clipped, 0.0, squares).sum(1, keepdim=True)
        taken = torch.where(clipped & (squares > 0), bounds, 0.0).sum(1, keepdim=True)
        share = torch.where(free > 0, ((budget - taken) / free).clamp(0, most), share)
    return share.squeeze(1).sqrt()


def _in_order(weights: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The values by steepness: |weights|, room, the room of all before, in float64; and their
    places.
    """
    steepness, order = weights.flatten(1).abs().sort(dim=1, descending=True)
    room = _room(weights, low, high).gather(1, order).double().clamp(max=ENDLESS)
    before = torch.cat([torch.zeros_like(room[:, :1]), room.cumsum(1)[:, :-1]], dim=1)
    return steepness.double(), room, before, order


def _normalised(gradient: Tensor) -> Tensor:
    """Divided by its L2 norm; scaled by the largest entry first, as the square of a tiny value
    would underflow.
    """
    peak = per_sample(gradient.abs().flatten(1).amax(1), gradient)
    scaled = torch.where(peak > 0, gradient / peak, 0.0)
    size = per_sample(scaled.flatten(1).square().sum(1).sqrt(), gradient)
    return torch.where(size > 0, scaled / size, 0.0)


NORMS: dict[str, Norm] = {norm.name: norm for norm in (Linf(), L2(), L1())}
