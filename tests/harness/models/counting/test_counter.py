"""The Counter as it begins: whole numbers of boxes, copies once, and less sure where attention
is.
"""

import pytest
import torch
from torch import Tensor

from harness.models.counting.counter import Counter, Monotone

ALL, NONE = 40.0, -40.0  # logits


def disjoint(count: int = 12) -> Tensor:
    left = torch.arange(count) / count
    return torch.stack([left, torch.zeros(count), left + 0.9 / count, torch.full((count,), 0.1)], 1)[None]


def logits(*given: float, count: int = 12) -> Tensor:
    return torch.tensor([[*given, *[NONE] * (count - len(given))]])


@pytest.mark.parametrize("count", [0, 1, 3, 10])
def test_disjoint_boxes_are_counted(count: int) -> None:
    torch.testing.assert_close(
        Counter()(logits(*[ALL] * count), disjoint()), torch.eye(11)[count][None], atol=1e-4, rtol=0
    )


def test_copies_count_once() -> None:
    boxes = disjoint()
    boxes[:, 1] = boxes[:, 0]
    boxes[:, 4] = boxes[:, 3]
    counted = Counter()(logits(ALL, ALL, NONE, ALL, ALL, ALL), boxes)
    torch.testing.assert_close(counted, torch.eye(11)[3][None], atol=1e-3, rtol=0)


def test_half_a_box() -> None:
    counted = Counter()(logits(0.0), disjoint())
    torch.testing.assert_close(counted[0, :2], torch.tensor([0.74746, 0.20254]), atol=1e-4, rtol=0)


def test_the_order_of_boxes_is_nothing() -> None:
    boxes, given = (
        torch.rand(3, 12, 2, generator=torch.Generator().manual_seed(0)),
        torch.randn(3, 12, generator=torch.Generator().manual_seed(1)),
    )
    boxes = torch.cat([boxes, boxes + 0.3], 2)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(Counter()(given[:, order], boxes[:, order]), Counter()(given, boxes))


def test_fewer_boxes_than_it_looks_at_will_do() -> None:
    torch.testing.assert_close(
        Counter()(torch.tensor([[ALL, ALL]]), disjoint()[:, :2]), torch.eye(11)[2][None], atol=1e-4, rtol=0
    )


def test_gradients_are_finite_where_nothing_is_counted() -> None:
    given = torch.full((1, 12), NONE, requires_grad=True)
    (gradient,) = torch.autograd.grad(Counter()(given, disjoint())[0, 0], given)
    assert bool(gradient.isfinite().all())


def test_a_monotone_function_begins_as_the_identity_and_stays_monotone() -> None:
    x = torch.linspace(0, 1, 101)
    f = Monotone()
    torch.testing.assert_close(f(x), x)
    with torch.no_grad():
        f.weight.copy_(torch.randn(17, generator=torch.Generator().manual_seed(0)))
        f.weight[0] = 0
        y = f(x)
    assert bool((y.diff() >= 0).all())
    torch.testing.assert_close(y[[0, -1]], torch.tensor([0.0, 1.0]))
