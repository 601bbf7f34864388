"""Edits along time change a sound of several channels as they change each channel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attacks.edits.air import OverTheAir
from attacks.edits.edit import Place
from attacks.edits.shift import TimeShift


def place_of(x: Tensor) -> Place:
    return Place(x, torch.full_like(x, -1.0), torch.full_like(x, 1.0))


def sounds(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 0.5


def shifted(x: Tensor, steps: int) -> Tensor:
    """(C, T) moved along its last axis, zeros in the gap."""
    places = torch.arange(x.shape[1])
    gap = places < steps if steps >= 0 else places >= x.shape[1] + steps
    return x.roll(steps, 1).masked_fill(gap, 0.0)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_shift_moves_every_channel_by_as_much(channels: int) -> None:
    x, budget, edit = sounds(5, channels, 40), torch.tensor([1.0, 2.0, 3.0, 7.0, 39.0]).double(), TimeShift()
    gradient = sounds(5, channels, 40, seed=1)
    moved = edit.best_edit(place_of(x), budget, gradient)
    gained = edit.gains(place_of(x), gradient, 39).gather(1, budget.long()[:, None]).squeeze(1)
    for row in range(5):
        most = int(budget[row])
        tried = [shifted(x[row], steps) for steps in range(-most, most + 1)]
        best = torch.stack([((each - x[row]) * gradient[row]).sum() for each in tried]).max()
        assert any(torch.equal(moved[row], each) for each in tried)
        assert torch.allclose(((moved[row] - x[row]) * gradient[row]).sum(), best, atol=1e-4)
        assert torch.allclose(gained[row], best, atol=1e-3)
    assert bool((edit.size(x, moved) <= budget).all())
    across = x.roll(1, 1)  # channels that change places are not a shift
    assert channels == 1 or bool(edit.size(x, across).isinf().all())


def test_a_room_is_the_same_for_every_channel() -> None:
    x, edit = sounds(3, 2, 400), OverTheAir()
    budget = torch.full((3,), 0.1).double()
    moved = edit.start(place_of(x), budget, torch.rand(3, 2, 400, generator=torch.Generator().manual_seed(2)))
    assert bool((edit.size(x, moved) <= 0.1 + 1e-6).all()) and edit.size(x, moved).shape == (3,)
    draw = torch.rand(3, edit.draws, generator=torch.Generator().manual_seed(3))
    received = edit.received(place_of(x), moved, draw)
    for channel in range(2):
        alone = edit.received(place_of(x[:, channel]), moved[:, channel], draw)
        assert torch.allclose(received[:, channel], alone, atol=1e-6)
