"""Every norm: size, dual, steepest, projection and random draws agree with one another."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from attacks.norms import NORMS, Norm

EVERY = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)


def changes(seed: int, samples: int = 6) -> torch.Tensor:
    return torch.randn(samples, 2, 5, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed % 5 - 2)


def box(seed: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    low, high = (torch.rand(like.shape, generator=generator) * like.abs().max() for _ in range(2))
    return -torch.where(low < low.median(), 0.0, low), high


@EVERY
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_steepest_attains_the_dual_norm(norm: Norm, seed: int) -> None:
    weights = changes(seed)
    step = norm.steepest(weights)
    torch.testing.assert_close(norm.size(step), torch.ones(len(step)), rtol=1e-5, atol=0)
    torch.testing.assert_close((weights * step).flatten(1).sum(1), norm.dual(weights), rtol=1e-5, atol=0)


@EVERY
def test_steepest_of_nothing_is_nothing(norm: Norm) -> None:
    assert not bool(norm.steepest(torch.zeros(3, 4)).any())
    tiny = torch.full((1, 4), 1e-30)
    torch.testing.assert_close(norm.size(norm.steepest(tiny)), torch.ones(1))


@EVERY
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 1.5))
def test_projection_is_allowed_and_idempotent(norm: Norm, seed: int, share: float) -> None:
    delta = changes(seed)
    low, high = box(seed, delta)
    radius = norm.size(delta) * share
    projected = norm.project(delta, radius, low, high)
    assert bool((norm.size(projected) <= radius * (1 + 1e-5)).all())
    assert bool(((projected >= low) & (projected <= high)).all())
    again = norm.project(projected, radius, low, high)
    torch.testing.assert_close(again, projected, rtol=1e-4, atol=1e-5 * float(delta.abs().max()))
    kept = norm.project(projected, norm.size(projected) * 2, low, high)
    assert torch.equal(kept, projected), "what is allowed stays where it is"


@EVERY
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_projection_is_the_nearest_point(norm: Norm, seed: int, share: float) -> None:
    """Against a general solver on ball ∩ box."""
    delta = torch.randn(1, 6, generator=torch.Generator().manual_seed(seed)).double()
    low, high = box(seed, delta)
    radius = norm.size(delta) * share
    projected = norm.project(delta, radius, low, high)
    target = delta[0].numpy()
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm.name]
    solved = minimize(  # δ = positive part - negative part keeps every norm smooth
        lambda v: float(((v[:6] - v[6:] - target) ** 2).sum()),
        np.full(12, 1e-3),
        bounds=[(0, float(h)) for h in high[0]] + [(0, -float(each)) for each in low[0]],
        constraints=(
            {
                "type": "ineq",
                "fun": lambda v: float(radius) - (v.sum() if order == 1 else np.linalg.norm(v[:6] - v[6:], order)),
            }
            if order != np.inf
            else {"type": "ineq", "fun": lambda v: float(radius) - np.abs(v[:6] - v[6:])}
        ),
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    distance = float((projected[0] - delta[0]).square().sum())
    assert distance <= solved.fun * (1 + 1e-4) + 1e-8


@EVERY
def test_random_draws_fill_the_ball(norm: Norm) -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([norm.random(torch.Size((3,)), generator) for _ in range(500)])
    sizes = norm.size(draws)
    assert float(sizes.max()) <= 1 + 1e-6
    assert 0.7 < float((sizes**3).mean()) / 0.5 < 1.3, (
        "the cube of a uniform draw's size is uniform in three dimensions"
    )
    assert float(draws.mean(0).abs().max()) < 0.1
