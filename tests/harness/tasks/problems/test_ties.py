"""A tie with the right answer is a wrong answer, in scores and in metrics alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.tasks import Classification, Heads, MultiLabel, Segmentation
from harness.tasks.problems.counts import Counting
from harness.tasks.problems.problem import Problem

COUNT = 12
DRAWS = torch.Generator().manual_seed(0)
PROBLEMS: dict[str, tuple[Problem, Tensor, str]] = {
    "accuracy": (Classification(3), torch.randint(3, (COUNT,), generator=DRAWS), "accuracy"),
    "heads": (Heads(("verb", "noun"), (2, 3)), torch.randint(6, (COUNT,), generator=DRAWS), "all_top1"),
    "counts": (Counting(4), torch.randint(5, (COUNT,), generator=DRAWS), "accuracy"),
    "labels": (MultiLabel(3), torch.randint(2, (COUNT, 3), generator=DRAWS), "exact_match"),
    "maps": (Segmentation(3, (2, 2)), torch.randint(3, (COUNT, 2, 2), generator=DRAWS), "pixel_accuracy"),
}


def agreed(name: str, outputs: Tensor) -> None:
    problem, targets, metric = PROBLEMS[name]
    score = float(problem.score(outputs, targets).double().mean())
    assert problem.metrics(problem.tally(outputs, targets).double())[metric] == pytest.approx(score)


@pytest.mark.parametrize("name", PROBLEMS)
def test_constant_answers_are_wrong_everywhere(name: str) -> None:
    problem, targets, _ = PROBLEMS[name]
    outputs = torch.zeros(COUNT, *problem.shape)
    assert not problem.score(outputs, targets).any()
    agreed(name, outputs)


@pytest.mark.parametrize("name", PROBLEMS)
def test_other_answers_count_alike(name: str) -> None:
    drawn = torch.randn(COUNT, *PROBLEMS[name][0].shape, generator=torch.Generator().manual_seed(1))
    agreed(name, drawn)
    agreed(name, drawn.round())  # some ties
