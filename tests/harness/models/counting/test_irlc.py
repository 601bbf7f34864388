"""IRLC's loop: its count, its logits, and the reward of its policy gradient."""

import pytest
import torch
from torch import Tensor

from harness.models.counting.irlc import NEVER, Scene, decided, margins
from harness.models.counting.irlc_recipe import policy_loss, rollout

LARGEST = 15


def scene(fit: Tensor, interaction: Tensor | None = None, stop: float = 0.0) -> Scene:
    return Scene(fit, torch.zeros(*fit.shape, fit.shape[1]) if interaction is None else interaction, torch.tensor(stop))


def counted(each: Scene, largest: int = LARGEST) -> Tensor:
    return decided(margins(each, largest)[0]).argmax(1)


def drawn(seed: int, count: int = 64, regions: int = 9) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    return scene(
        torch.randn(count, regions, generator=generator), torch.randn(count, regions, regions, generator=generator), 0.2
    )


def loop(each: Scene, row: int) -> int:
    """The loop of the paper, one decision after the other."""
    fit, left = each.fit[row].clone(), set(range(each.fit.shape[1]))
    while left:
        best = max(left, key=lambda region: fit[region].item())
        if fit[best] <= each.stop:
            break
        left.remove(best)
        fit = fit + each.interaction[row, best]
    return each.fit.shape[1] - len(left)


def test_without_interactions_it_counts_what_is_above_the_stop() -> None:
    fit = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(counted(scene(fit, stop=0.3)), (fit > 0.3).sum(1))


def test_copies_that_forbid_each_other_count_once() -> None:
    assert counted(scene(torch.full((1, 4), 2.0), torch.full((1, 4, 4), -10.0))).item() == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_logit_is_the_loops_own_count(seed: int) -> None:
    each = drawn(seed)
    assert counted(each).tolist() == [loop(each, row) for row in range(64)]


def test_it_ends_at_the_largest_count_and_where_no_region_is_left() -> None:
    assert counted(scene(torch.full((1, 9), 3.0)), largest=4).item() == 4
    assert counted(scene(torch.full((1, 9), 3.0))).item() == 9
    assert counted(scene(torch.full((1, 9), NEVER))).item() == 0


def test_each_region_is_counted_once() -> None:
    _, chosen = margins(drawn(0), 9)
    assert torch.equal(chosen.sort(1).values, torch.arange(9).expand(64, -1))


def test_a_drawn_sequence_has_the_probability_of_its_decisions() -> None:
    """One region: counted with probability σ(κ - ζ)."""
    torch.manual_seed(0)
    each = rollout(scene(torch.full((4000, 1), 0.4)), LARGEST)
    share = torch.tensor(0.4).sigmoid()
    assert abs(each.count.mean() - share) < 0.03
    expected = torch.where(each.count == 1, share, 1 - share).log()
    torch.testing.assert_close(each.log_probability, expected, atol=1e-4, rtol=0)


def test_no_sequence_counts_a_region_twice_or_what_is_none() -> None:
    torch.manual_seed(0)
    fit = torch.full((500, 6), 3.0)
    fit[:, 4:] = NEVER
    assert rollout(scene(fit), LARGEST).count.max() == 4


def test_nothing_is_learnt_where_the_drawn_count_is_the_greedy_one() -> None:
    torch.manual_seed(0)
    fit = torch.randn(32, 5, requires_grad=True)
    each = rollout(scene(fit), LARGEST)
    (gradient,) = torch.autograd.grad(policy_loss(each, each.count, torch.full((32,), 3.0)).sum(), fit)
    assert not bool(gradient.any())


def test_a_better_draw_becomes_likelier() -> None:
    torch.manual_seed(0)
    fit = torch.zeros(200, 1, requires_grad=True)
    each = rollout(scene(fit), LARGEST)
    (gradient,) = torch.autograd.grad(policy_loss(each, torch.zeros(200), torch.ones(200)).sum(), fit)
    assert bool((gradient[each.count == 1] < 0).all()) and not bool(gradient[each.count == 0].any())
