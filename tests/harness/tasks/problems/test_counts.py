"""The problem of counting: what counts as failed, its metrics and its targets."""

import pytest
import torch
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import classification_verdict
from harness.tasks import Counting
from harness.tasks.problems.counts import count_logits


def drawn_logits() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(300, 16, generator=generator), torch.randint(16, (300,), generator=generator)


def test_counting_is_a_classification_at_no_tolerance() -> None:
    outputs, targets = drawn_logits()
    mine, plain = Counting(15).verdict(outputs, targets), classification_verdict(outputs, targets)
    assert torch.equal(mine.fails, plain.fails) and mine.margins is not None and plain.margins is not None
    torch.testing.assert_close(mine.margins, plain.margins)
    assert mine.losses.keys() == plain.losses.keys()
    for name, loss in plain.losses.items():
        torch.testing.assert_close(mine.losses[name], loss, msg=name)


@pytest.mark.parametrize("tolerance", [0, 1, 2])
def test_a_sample_fails_when_its_count_is_off_by_more_than_the_tolerance(tolerance: int) -> None:
    outputs, targets = drawn_logits()
    problem = Counting(15, tolerance)
    verdict, error = problem.verdict(outputs, targets), (outputs.argmax(1) - targets).abs()
    assert torch.equal(verdict.fails, error > tolerance) and torch.equal(verdict.losses["margin"] < 0, ~verdict.fails)
    assert torch.equal(problem.score(outputs, targets), (error == 0).float())


def test_a_real_number_is_rounded_and_clipped_and_has_a_gradient() -> None:
    number = torch.tensor([-3.0, 0.4, 0.6, 7.49, 14.6, 99.0], requires_grad=True)
    logits = count_logits(number, 15)
    assert logits.argmax(1).tolist() == [0, 0, 1, 7, 15, 15]
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([2] * 6), reduction="none").sum(), number)
    assert bool((gradient[:3] < 0).all()) and bool((gradient[3:] > 0).all())


@pytest.mark.parametrize(
    ("problem", "targets"), [(Counting(15), [16]), (Counting(15), [-1]), (Counting(15, 15), [0]), (Counting(0), [0])]
)
def test_impossible_counts_are_refused(problem: Counting, targets: list[int]) -> None:
    with pytest.raises(BadInput, match=r"0 to 15|tolerance below it"):
        problem.check_targets(torch.tensor(targets))
