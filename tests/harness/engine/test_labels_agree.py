"""The label of an answer is that of the prediction which its score judges."""

from __future__ import annotations

import pytest
import torch

from harness.engine.draws import OverDraws
from harness.engine.judged import judged_rows
from harness.tasks import Classification, Counting, Problem


@pytest.mark.parametrize("problem", [Classification(3), Counting(2)])
def test_a_tie_with_the_right_answer_is_labelled_as_wrong(problem: Problem) -> None:
    outputs, targets = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [3.0, 0.0, 3.0]]), torch.tensor([0, 2, 0])
    for row, target in zip(judged_rows(problem, outputs, targets), targets.tolist(), strict=True):
        assert row["score"] == 0 and row["label"] != str(target)


@pytest.mark.parametrize("seed", range(5))
def test_a_label_over_draws_is_that_of_the_draw_that_decides(seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    problem, outputs = OverDraws(Classification(3), 4), torch.randn(40, 4, 3, generator=draws)
    targets = torch.randint(3, (40,), generator=draws)
    rows = judged_rows(problem, outputs, targets)
    assert {row["score"] for row in rows} == {0.0, 1.0}
    for row, target in zip(rows, targets.tolist(), strict=True):
        assert (row["label"] == str(target)) == (row["score"] == 1)
