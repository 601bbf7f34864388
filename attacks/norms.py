"""The norms a perturbation is measured in.

All functions are per sample and batch-safe: `delta` has shape (B, ...), sizes and radii have shape (B,).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

NEWTON_STEPS = 12  # of the projections on a ball inside a box; each ends where no further value meets its bound
L1_BISECTIONS = 40  # halvings of the threshold's bracket: past float32 resolution
L1_REACH = 4.0  # Euclidean length of a step across the L1 ball: the longer, the sparser what is left of it


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

    def ascent(self, gradient: Tensor) -> Tensor:
        """The direction of a step that is projected afterwards; a length of 1 crosses the unit ball."""

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

    def ascent(self, gradient: Tensor) -> Tensor:
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
        return _normalised(gradient)

    def ascent(self, gradient: Tensor) -> Tensor:
        return _normalised(gradient)

    def project(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Stationarity gives clamp(f · delta, low, high), f ≤ 1 the largest factor that fits.

        In s = f², the squared size is concave and piecewise linear: Newton's method from the left needs
        no safeguard, every iterate is feasible, and it is exact after as many steps as it meets pieces.
        """
        squares = delta.square().flatten(1)
        bounds = torch.where(delta > 0, high, low).square().flatten(1)
        budget = radius.square().unsqueeze(1)
        share = torch.zeros_like(budget)
        for _ in range(NEWTON_STEPS):
            clipped = squares * share >= bounds
            free = torch.where(clipped, 0.0, squares).sum(1, keepdim=True)
            taken = torch.where(clipped & (squares > 0), bounds, 0.0).sum(1, keepdim=True)
            share = torch.where(free > 0, ((budget - taken) / free).clamp(0, 1), share)
        return (delta * per_sample(share.squeeze(1).sqrt(), delta)).clamp(low, high)

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
        """Not the steepest, a single value: the projection makes the step sparse, and several values may move."""
        return L1_REACH * _normalised(gradient)

    def project(self, delta: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Stationarity gives sign(delta) · clamp(|delta| - λ, 0, bound); the smallest λ ≥ 0 that fits, by bisection."""
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

    def random(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Exponential magnitudes, one more than there are values, are uniform on the simplex once divided by their sum."""
        sizes = -torch.rand(torch.Size((shape.numel() + 1,)), generator=generator).clamp_min(1e-12).log()
        signs = torch.randint(0, 2, (shape.numel(),), generator=generator) * 2 - 1
        return (sizes[:-1] / sizes.sum() * signs).reshape(shape)


def _normalised(gradient: Tensor) -> Tensor:
    """Divided by its L2 norm; scaled by the largest entry first, as the square of a tiny value would underflow."""
    peak = per_sample(gradient.abs().flatten(1).amax(1), gradient)
    scaled = torch.where(peak > 0, gradient / peak, 0.0)
    size = per_sample(scaled.flatten(1).square().sum(1).sqrt(), gradient)
    return torch.where(size > 0, scaled / size, 0.0)


NORMS: dict[str, Norm] = {norm.name: norm for norm in (Linf(), L2(), L1())}
