"""Sets of groups where the draw that decides counts: the beam against all sets."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor

from attacks.edits.sets import decisive, sets_of
from benchmarks.cases import seeded

DRAWS = 32


def gains_of(groups: int, samples: int = 20) -> Tensor:
    """Gains in each draw, the groups of highest mean gain first."""
    gains = torch.randn(samples, groups, DRAWS, generator=seeded(groups), dtype=torch.float64)
    gains += torch.randn(samples, groups, 1, generator=seeded(groups + 1), dtype=torch.float64)
    order = gains.mean(2).argsort(1, descending=True)
    return gains.gather(1, order[:, :, None].expand_as(gains))


def best_of_all(gains: Tensor, most: int) -> Tensor:
    """By trying every set of at most so many groups."""
    sets = [list(chosen) for size in range(most + 1) for chosen in combinations(range(gains.shape[1]), size)]
    return torch.stack([decisive(gains[:, chosen].sum(1)) for chosen in sets]).amax(0)


def test_half_of_the_draws_decide() -> None:
    assert decisive(torch.arange(4.0)) == 2 and decisive(torch.arange(5.0)) == 3


@pytest.mark.parametrize("groups", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("most", [1, 2, 4, 7])
def test_small_sets_are_the_best_of_all(groups: int, most: int) -> None:
    gains = gains_of(groups)
    found = sets_of(gains, most)
    torch.testing.assert_close(found.gains[:, -1], best_of_all(gains, min(most, groups)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("groups", "most"), [(3, 9), (12, 9), (60, 40)])
def test_sets_have_their_stated_gain_and_size(groups: int, most: int) -> None:
    gains = gains_of(groups)
    found = sets_of(gains, most)
    assert bool((found.gains.diff(dim=1) >= 0).all()) and bool((found.gains[:, 0] == 0).all())
    for size in range(most + 1):
        held = found.within(torch.full((len(gains),), float(size)))
        assert bool((held.sum(1) <= size).all())
        torch.testing.assert_close(
            decisive((gains * held[:, :, None]).sum(1)), found.gains[:, size], rtol=1e-9, atol=1e-9
        )
