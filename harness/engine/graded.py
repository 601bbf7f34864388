"""Searches of graded answers: one after the other for each threshold, from mild to hard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from attacks.region import Inputs, Region, select
from attacks.scenario import Scenario
from attacks.search_state import Found
from harness.engine.fronts import Front, Watcher, hand_up
from harness.engine.objective import TaskObjective

Search = Callable[..., Iterator[tuple[Scenario, Found]]]


@dataclass(frozen=True, eq=False)
class Result:
    """The result under a scenario: at a threshold, or at None where answers are right or wrong.

    Attributes:
        front: with the first threshold of a scenario, its front.
    """

    scenario: Scenario
    threshold: float | None
    found: Found
    front: Front | None = None


def searched(
    search: Search, objective: TaskObjective, everything: TaskObjective, inputs: Inputs, thresholds: Sequence[float]
) -> Iterator[list[Result]]:
    """The results under each scenario: one result where answers are right or wrong, else one for
    each threshold, from mild to hard.

    Args:
        search: `search_all` but for its objective and its `watch`.
        everything: the objective with no modality missing, for the untouched scores.
        thresholds: the highest first.
    """
    if thresholds:
        yield from _at_thresholds(search, objective, everything, inputs, thresholds)
        return
    for scenario, found in search(objective):
        yield [Result(scenario, None, found)]


def _at_thresholds(
    search: Search, objective: TaskObjective, everything: TaskObjective, inputs: Inputs, thresholds: Sequence[float]
) -> Iterator[list[Result]]:
    """Each search starts from the changes of the searches before it, and each result uses the
    changes of all searches.
    """
    with torch.no_grad():
        untouched = everything.task.problem.score(everything.outputs(inputs), everything.targets).double()
    floors = {threshold: threshold * untouched for threshold in thresholds}
    watchers: dict[Scenario, Watcher] = {}

    def watch(scenario: Scenario, region: Region) -> Watcher:
        if scenario not in watchers:
            watchers[scenario] = Watcher.of(scenario, region, objective, floors, untouched)
        return watchers[scenario]

    found = {
        (scenario, threshold): each
        for threshold in thresholds
        for scenario, each in search(objective.below(floors[threshold]), watch=watch)
    }
    whole = [scenario for scenario in watchers if all((scenario, threshold) in found for threshold in thresholds)]
    hand_up([watchers[scenario] for scenario in whole])
    for scenario in whole:
        watcher = watchers[scenario]
        best = [_better(found[scenario, threshold], watcher.best.get(threshold)) for threshold in thresholds]
        fronts = [watcher.front, *[None] * (len(thresholds) - 1)]
        yield [Result(scenario, *each) for each in zip(thresholds, best, fronts, strict=True)]


def _better(found: Found, seen: Found | None) -> Found:
    """The smaller strength of each sample, which the search of another threshold may have found."""
    if seen is None:
        return found
    nearer = seen.strength < found.strength
    finder = ["seen on the way" if near else name for near, name in zip(nearer.tolist(), found.finder, strict=True)]
    witness = select(nearer, seen.witness, found.witness)
    return replace(found, strength=torch.where(nearer, seen.strength, found.strength), witness=witness, finder=finder)


def front_rows(result: Result, samples: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of the table of fronts, where the result has one."""
    if result.front is None:
        return []
    return [
        {"sample": sample, "scenario": str(result.scenario), "strength": strength, "score": score, "tally": tally}
        for row, sample in enumerate(samples)
        for strength, score, tally in result.front.points(row)
    ]


def floor_of(clean_score: float, threshold: float | None) -> Tensor | None:
    """The score (1,) below which one sample has failed; None where answers are right or wrong."""
    return None if threshold is None else torch.tensor([threshold * clean_score], dtype=torch.float64)
