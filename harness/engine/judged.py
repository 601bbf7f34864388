"""The columns of an answer in the tables of a run: its score, its label and its tally."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from attacks.errors import BadInput
from harness.tasks.problems.problem import MOST_TALLIED, Problem

COLUMNS = ("score", "label", "tally")
NOTHING: dict[str, Any] = dict.fromkeys(COLUMNS)  # where the model raised


def judged_rows(problem: Problem, outputs: Tensor, targets: Tensor) -> list[dict[str, Any]]:
    """The columns `COLUMNS` of each answer (B, *shape)."""
    scores = problem.score(outputs, targets).double().tolist()
    labels = problem.label(problem.predictions(outputs), targets)
    tallies = checked_tally(problem.tally(outputs, targets), len(outputs)).double().tolist()
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(scores, labels, tallies, strict=True)]


def checked_tally(tally: Tensor, count: int) -> Tensor:
    """The tally of `count` samples (B, T).

    Raises:
        BadInput: it has another shape.
    """
    if tally.ndim != 2 or len(tally) != count or tally.shape[1] > MOST_TALLIED:
        raise BadInput(
            f"the problem's tally has shape {tuple(tally.shape)} for {count} samples: give ({count}, T) with the same T"
            f" for every sample, at most {MOST_TALLIED}"
        )
    return tally
