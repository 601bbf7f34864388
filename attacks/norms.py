"""The norms a perturbation is measured in.

All functions are per sample and batch-safe: `delta` has shape (B, ...), sizes and radii have shape (B,).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

PROJECTION_BISECTIONS = 24  # halvings of the shrink factor's bracket: float32 resolution


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Values of shape (B,) shaped to broadcast against `like` (B, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


@runtime_checkable
class Norm(Protocol):
    """What every attack needs to know of a norm."""

    name: str

    def size(self, delta: Tensor) -> Tensor:
        """‖delta‖ per sample, (B,)."""

    def dual(self, weights: Tensor) -> Tensor:
        """The dual norm per sample, (B,): the most a unit change can add to ⟨weights, ·⟩."""

    def steepest(self, gradient: Tensor) -> Tensor:
        """The unit change that adds most to ⟨gradient, ·⟩; zero where the gradient is."""

    def project(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The nearest change (Euclidean) with ‖·‖ ≤ radius and low ≤ · ≤ high; needs low ≤ 0 ≤ high."""

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

    def project(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        bound = per_sample(radius, delta)
        return delta.clamp(torch.maximum(low, -bound), torch.minimum(high, bound))

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
        # Scaled by the largest entry first: the square of a tiny gradient would underflow.
        peak = per_sample(gradient.abs().flatten(1).amax(1), gradient)
        scaled = torch.where(peak > 0, gradient / peak, 0.0)
        size = per_sample(self.size(scaled), gradient)
        return torch.where(size > 0, scaled / size, 0.0)

    def project(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Stationarity gives clamp(delta / (1 + λ), low, high) with λ ≥ 0; the factor is found by bisection."""
        boxed = delta.clamp(low, high)
        inside = self.size(boxed) <= radius
        if bool(inside.all()):
            return boxed
        # Shrinking delta itself into the ball is feasible, and exact where the range does not bind then.
        lower = (radius / self.size(delta).clamp_min(torch.finfo(delta.dtype).tiny)).clamp(max=1.0)
        scaled = delta * per_sample(lower, delta)
        free = ((scaled >= low) & (scaled <= high)).flatten(1).all(1)
        if not bool((free | inside).all()):
            lower = torch.where(free, lower, self._shrink(delta, radius, low, high, lower))
        shrunk = (delta * per_sample(lower, delta)).clamp(low, high)
        return torch.where(per_sample(inside, delta), boxed, shrunk)

    def _shrink(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor, lower: Tensor) -> Tensor:
        """The largest factor f with ‖clamp(f · delta, low, high)‖ ≤ radius, (B,), from a feasible one."""
        upper = torch.ones_like(lower)
        for _ in range(PROJECTION_BISECTIONS):
            middle = (lower + upper) / 2
            fits = self.size((delta * per_sample(middle, delta)).clamp(low, high)) <= radius
            lower, upper = torch.where(fits, middle, lower), torch.where(fits, upper, middle)
        return lower

    def random(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        direction = torch.randn(shape, generator=generator)
        distance: Tensor = torch.rand((), generator=generator) ** (1 / max(direction.numel(), 1))
        drawn: Tensor = direction / torch.linalg.vector_norm(direction) * distance
        return drawn


NORMS: dict[str, Norm] = {norm.name: norm for norm in (Linf(), L2())}
