"""The columns of an answer in the tables of a run: its score, its label and its tally."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.errors import BadInput
from harness.run.schema import LONGEST_IN_ROW, place_of
from harness.tasks import Task
from harness.tasks.problems.problem import MOST_TALLIED, Problem, answered

COLUMNS = ("score", "label", "tally")
NOTHING: dict[str, Any] = dict.fromkeys(COLUMNS)  # where the model raised


def judged_rows(problem: Problem, outputs: Tensor, targets: Tensor) -> list[dict[str, Any]]:
    """The columns `COLUMNS` of each answer (B, *shape).

    Raises:
        BadInput: a score is not in [0, 1], or the tally has another shape.
    """
    scores = checked_score(problem.score(outputs, targets), len(outputs)).double().tolist()
    labels = problem.label(answered(problem, outputs, targets), targets)
    tallies = listed(checked_tally(problem.tally(outputs, targets), len(outputs)))
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(scores, labels, tallies, strict=True)]


def checked_score(score: Tensor, count: int) -> Tensor:
    """The scores of `count` samples (B,).

    Raises:
        BadInput: they have another shape, or are not in [0, 1].
    """
    _check_tensor("score", score)
    if tuple(score.shape) != (count,):
        raise BadInput(
            f"the problem's score has shape {tuple(score.shape)} for {count} samples: give one number per sample,"
            f" ({count},)"
        )
    if bool((strange := ~((score >= 0) & (score <= 1))).any()):
        raise BadInput(
            f"the problem's score of a sample is {float(score[strange][0]):g}: give a number from 0 to 1, higher for a"
            " better answer"
        )
    return score


def _check_tensor(what: str, values: object) -> None:
    if not isinstance(values, Tensor):
        raise BadInput(f"the problem's {what} is of type {type(values).__name__}: give a torch.Tensor")


def checked_tally(tally: Tensor, count: int) -> Tensor:
    """The tally of `count` samples (B, T).

    Raises:
        BadInput: it has another shape.
    """
    _check_tensor("tally", tally)
    if tally.ndim != 2 or len(tally) != count or tally.shape[1] > MOST_TALLIED:
        raise BadInput(
            f"the problem's tally has shape {tuple(tally.shape)} for {count} samples: give ({count}, T) with the same T"
            f" for every sample, at most {MOST_TALLIED}"
        )
    return tally


def listed(tally: Tensor) -> list[Any]:
    """The tally (T,) of each sample as a row holds it; a long one as an array, which takes a tenth
    of the memory of a list.
    """
    held = tally.detach().to("cpu", held_as(tally.shape[1]))
    return list(held.numpy()) if tally.shape[1] > LONGEST_IN_ROW else held.tolist()


def held_as(width: int) -> torch.dtype:
    """The type in which a tally of so many numbers is kept."""
    return torch.float32 if width > LONGEST_IN_ROW else torch.float64


def tally_width(task: Task) -> int:
    """How many numbers a tally has."""
    first = task.splits["test"].take([0]).targets
    return checked_tally(task.problem.tally(torch.zeros(1, *task.problem.shape), first), 1).shape[1]


def check_widths(rows: Iterable[Mapping[str, Any]], width: int) -> None:
    """Refuse tallies that differ in length.

    Raises:
        BadInput: naming the sample.
    """
    for row in rows:
        if row["tally"] is not None and len(row["tally"]) != width:
            raise BadInput(
                f"the problem's tally has {len(row['tally'])} numbers for sample {row['sample']!r} and {width} for"
                " another: give the same number for every sample"
            )


def taken_out(rows: Mapping[str, Sequence[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Remove long tallies from the rows of tables, and return them as rows of `tallies`."""
    for table, those in rows.items():
        for row in those:
            if row["tally"] is not None and len(row["tally"]) > LONGEST_IN_ROW:
                name, level, repeat = place_of(table, row)
                yield {**row, "table": table, "name": name, "level": level, "repeat": repeat}
                row["tally"] = None
