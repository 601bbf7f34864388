"""From a configuration to cells: one model on one shard of samples, all scenarios."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import harness
from attacks.errors import BadInput
from attacks.fixed import InTurn
from attacks.randomness import keyed_seed
from attacks.scenario import Scenario, closure, mentioned, parse
from attacks.search import Search
from harness import attack
from harness.config import RESULT_NEUTRAL, Evaluation
from harness.corruptions import corruption
from harness.frontier import rays
from harness.loading import Loaded, code_hash
from harness.registry import names as registered
from harness.registry import resolve
from harness.schedules import parse as parse_schedule
from harness.sweep import Condition, each_missing
from harness.tasks import Task


@dataclass(frozen=True, eq=False)
class Work:
    """What every cell of a run shares.

    Attributes:
        run: the run's id, a hash of `identity`.
        identity: all that determines the results.
        scenarios: those asked for, per set of missing modalities.
        requested: those asked for, in order.
    """

    run: str
    identity: dict[str, Any]
    task: Task
    models: Sequence[Loaded]
    config: Evaluation
    scenarios: Sequence[Sequence[Scenario]]
    requested: Sequence[Scenario]
    schedules: Sequence[Condition]
    search: Search

    @cached_property
    def chosen(self) -> list[int]:
        """The rows of the test split under test, of a shard its part, picked by a keyed hash: their order does not matter."""
        number, count = map(int, (self.config.shard or "1/1").split("/"))
        return chosen_rows(self.config, self.task.splits["test"].samples)[number - 1 :: count]

    @cached_property
    def kept_samples(self) -> frozenset[str]:
        """The samples whose witnesses are stored."""
        names = self.task.splits["test"].samples
        return frozenset(names[row] for row in kept_rows(self.config, names))

    @property
    def scenario_count(self) -> int:
        """How many scenarios are searched, sub-scenarios included."""
        return sum(len(closure(group)) for group in self.scenarios)


def chosen_rows(config: Evaluation, names: Sequence[str]) -> list[int]:
    """The rows of a split, of samples by these names, that are under test."""
    order = sorted(range(len(names)), key=lambda row: keyed_seed("choice", config.seed, names[row]))
    return order if config.samples == "all" else order[: config.samples]


def kept_rows(config: Evaluation, names: Sequence[str]) -> list[int]:
    """Those whose witnesses are stored."""
    chosen, wanted = chosen_rows(config, names), config.witnesses
    return chosen[: wanted if isinstance(wanted, int) else {"none": 0, "all": len(chosen)}[wanted]]


@dataclass(frozen=True)
class Cell:
    """The unit of work: a model on a shard of the test split. Keyed by all that determines its rows."""

    key: str
    model: Loaded
    rows: tuple[int, ...]


def prepare(config: Evaluation, task: Task, models: Sequence[Loaded]) -> Work:
    """Read the scenarios, schedules and corruptions against the task, and fix the run's identity.

    Raises:
        BadInput: a scenario, schedule, corruption or attack does not parse or does not fit the task.
    """
    frontiers = [ray for text in config.frontier for ray in rays(text, task)]
    asked = [checked(text, task) for text in config.scenario] or ([] if frontiers else task.scenarios())
    requested = list(dict.fromkeys([*asked, *frontiers]))
    groups = {scenario.missing: [s for s in requested if s.missing == scenario.missing] for scenario in requested}
    schedules = [parse_schedule(text, task.names) for text in config.schedule]
    corruptions = corruption.parse_all(config.corruption, task)
    attacks = attack.parse_all(config.attack, task, [each for group in groups.values() for each in closure(group)])
    identity: dict[str, Any] = {
        "harness": harness.__version__,
        "config": config.model_dump(mode="json", exclude=RESULT_NEUTRAL),
        "data": task.data_hash,
        "task definition": task.definition_hash,
        "weights": {model.name: model.weights for model in models},
        "code": {model.name: model.code for model in models},
        "scenarios": [str(scenario) for scenario in requested],
        "attacks": {text: code_hash(attack.reference(text)) for text in config.attack},
        "corruptions": {str(each): code_hash(each.reference(task)) for each in corruptions},
    }
    if any(ball.edit.shared for scenario in requested for ball in scenario.edits):
        identity["batch size"] = config.batch_size  # such an edit is made for the whole batch
        if config.shard is not None:
            raise BadInput(f"--shard {config.shard}: an edit that a whole batch shares depends on which samples are in it: run it whole")
    run = _digest(identity)[:12]
    search = InTurn((search_of(config.search), *attacks))
    conditions: list[Condition] = [*each_missing(task), *schedules, *corruptions]
    return Work(run, identity, task, models, config, list(groups.values()), requested, conditions, search)


def checked(text: str, task: Task) -> Scenario:
    """The scenario, if it parses and the task has the modalities it names.

    Raises:
        BadInput: it does not.
    """
    scenario = parse(text)
    for name in mentioned(text):
        task.modality(name)
    return scenario


def search_of(text: str) -> Search:
    """The search that a reference names.

    Raises:
        BadInput: no such name, or what it names is no search.
    """
    target: Search = resolve("search", text).target
    try:
        inspect.signature(target).bind(None)
    except TypeError:
        known = ", ".join(registered("search"))
        raise BadInput(f"search {text!r} is none: a search takes one argument, the hunt (known: {known})") from None
    return target


def cells(work: Work, done: Mapping[str, Collection[str]] | None = None) -> list[Cell]:
    """The cells that are left when of some models some samples are done, model by model."""
    names, size = work.task.splits["test"].samples, work.config.batch_size
    planned: list[Cell] = []
    for model in work.models:
        there = (done or {}).get(model.name, ())
        left = [row for row in work.chosen if names[row] not in there]
        planned += [_cell(work, model, left[start : start + size]) for start in range(0, len(left), size)]
    return planned


def halved(work: Work, cell: Cell) -> list[Cell]:
    """The cell in two, for a device that cannot hold it."""
    middle = len(cell.rows) // 2
    return [_cell(work, cell.model, rows) for rows in (cell.rows[:middle], cell.rows[middle:])]


def _cell(work: Work, model: Loaded, rows: Sequence[int]) -> Cell:
    names = work.task.splits["test"].samples
    return Cell(_digest([work.run, model.name, [names[row] for row in rows]])[:16], model, tuple(rows))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
