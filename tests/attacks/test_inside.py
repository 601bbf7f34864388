"""A change that rounding left outside of a strength is brought back inside: it counts at exactly
that strength.
"""

import pytest
import torch

from attacks.region import Range, Region

OFFSETS = {"small": 0.0, "grey levels": 200.0, "metres": 1e4}


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("norm", ["linf:0.1", "l2:0.3", "l1:1"])
@pytest.mark.parametrize("strength", [1 / 16, 0.3, 1.0, 8.0])
def test_a_change_comes_back_inside(norm: str, offset: str, strength: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = OFFSETS[offset] + torch.rand(16, 30, generator=generator)
    region = Region.of({"x": x}, {"x": Range(-1e6, 1e6)}, f"x@{norm}")
    given = torch.full((16,), strength, dtype=torch.float64)
    unit = {"x": torch.randn(16, 30, generator=generator)}
    at = region.project({"x": x + 100 * unit["x"]}, given)
    inside = region.inside(at, given)
    assert bool((region.gauge(inside) <= given).all())
    if offset == "small":
        assert bool((region.gauge(inside) >= 0.999 * given).all())
        assert bool((region.gauge(region.inside({"x": x + 100 * unit["x"]}, given)) >= 0.49 * given).all())
    kept = region.gauge(at) <= given
    assert torch.equal(inside["x"][kept], at["x"][kept])
