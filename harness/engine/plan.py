"""Make cells from a configuration: one model on one shard of samples, all scenarios."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from attacks.errors import BadInput
from attacks.fixed_budget import InTurn
from attacks.scenario import Scenario, closure, mentioned, parse
from attacks.search_state import Search
from harness.corruptions import corruption
from harness.engine import extra_attacks
from harness.engine.answering import Answering
from harness.engine.applied import conditions_applied, is_users, searches_applied
from harness.engine.choice import certified_rows, chosen_rows, kept_rows
from harness.engine.draws import drawn, over_draws
from harness.engine.fingerprint import fixed_rows
from harness.engine.frontier import rays
from harness.engine.judged import tally_width
from harness.engine.knn_consistency import unlabelled, watched
from harness.engine.loading import Loaded, code_hash, digest, load_model, load_task, task_code
from harness.engine.searches import search_for, search_of
from harness.engine.sweep import Condition, each_missing
from harness.references import options
from harness.references.livecode import code_behind
from harness.references.objects import held
from harness.references.registry import Reference, code_of, resolve
from harness.run.config import NO_SCHEDULE, RESULT_NEUTRAL, Evaluation
from harness.run.description import Identity, SavedConfig
from harness.run.schema import LONGEST_IN_ROW
from harness.schedules import Schedule
from harness.schedules import parse as parse_schedule
from harness.tasks import Task
from harness.tasks.answer_form import answer_form
from harness.tasks.problems.problem import thresholds_of
from harness.version import __version__

HALF_NAME = 6  # digits
ANSWERED = ("answers", "labels", "applied")  # keys of an identity whose last bits another machine may change


@dataclass(frozen=True, eq=False)
class Work:
    """The part that all cells of a run share.

    Attributes:
        run: the run's id, a hash of `identity`.
        identity: all that determines the results.
        scenarios: the requested ones, by set of missing modalities.
        requested: the requested ones, in order.
        searches: of each model: the one of the configuration, or `attacks.blackbox` in its place.
        answering: the properties of each model that its answers show.
    """

    run: str
    identity: Identity
    task: Task
    models: Sequence[Loaded]
    config: Evaluation
    scenarios: Sequence[Sequence[Scenario]]
    requested: Sequence[Scenario]
    schedules: Sequence[Condition]
    searches: Mapping[str, Search]
    answering: Mapping[str, Answering]

    @cached_property
    def chosen(self) -> list[int]:
        """The rows of the test split under test (for a shard, its part). A keyed hash chooses them,
        so the order of the split does not matter.
        """
        number, count = map(int, (self.config.shard or "1/1").split("/"))
        return chosen_rows(self.config, self.task.splits["test"].samples)[number - 1 :: count]

    @cached_property
    def kept_samples(self) -> frozenset[str]:
        """The samples whose witnesses are stored."""
        names = self.task.splits["test"].samples
        return frozenset(names[row] for row in kept_rows(self.config, names))

    @cached_property
    def certified_samples(self) -> frozenset[str]:
        """The samples that are certified."""
        names = self.task.splits["test"].samples
        return frozenset(names[row] for row in certified_rows(self.config, names))

    @cached_property
    def answer_form(self) -> dict[str, Any] | None:
        """The data that pages need to draw or play answers; None if labels suffice."""
        return answer_form(self.task)

    @cached_property
    def tally_width(self) -> int:
        """The number of values of a tally."""
        return tally_width(self.task)

    @property
    def long_tally(self) -> int | None:
        """The same where a tally is too long for a row; else None."""
        return self.tally_width if self.tally_width > LONGEST_IN_ROW else None

    @property
    def search_count(self) -> int:
        """How many searches a sample has: one for each scenario, sub-scenarios included, at each
        threshold.
        """
        return sum(len(closure(group)) for group in self.scenarios) * max(1, len(thresholds_of(self.task.problem)))


@dataclass(frozen=True)
class Cell:
    """The unit of work: a model on a shard of the test split.

    Its key is a hash of everything that determines its rows.
    """

    key: str
    model: Loaded
    rows: tuple[int, ...]


def prepare(config: Evaluation, task: Task, models: Sequence[Loaded], answering: Mapping[str, Answering]) -> Work:
    """Read the scenarios, schedules and corruptions against the task, and fix the run's identity.

    Args:
        answering: the properties of each model that its answers show.

    Raises:
        BadInput: a scenario, schedule, corruption or attack does not parse or does not fit the
            task.
    """
    frontiers = [ray for text in config.frontier for ray in rays(text, task)]
    named = [checked(text, task) for text in config.scenario] or ([] if frontiers else task.scenarios())
    requested = list(dict.fromkeys([*named, *frontiers]))
    groups = {scenario.missing: [s for s in requested if s.missing == scenario.missing] for scenario in requested}
    schedules = [parse_schedule(text, task.names) for text in config.schedule if config.schedule != NO_SCHEDULE]
    for schedule in schedules:
        task.check_missing(schedule.which if isinstance(schedule, Schedule) else (), f"schedule {schedule}")
    corruptions = corruption.parse_all(config.corruption, task)
    attacks = extra_attacks.parse_all(
        config.attack, task, [each for group in groups.values() for each in closure(group)]
    )
    conditions: list[Condition] = [*schedules, *corruptions]
    searched = {model.name: search_for(config.search, answering.get(model.name)) for model in models}
    searches = dict(zip(config.attack, attacks, strict=True)) | {config.search: search_of(config.search)}
    identity = Identity(
        harness=__version__,
        config=SavedConfig.model_validate(config.model_dump(mode="json", exclude=_left_out(config))),
        data=task.data_hash,
        task_definition=task.definition_hash,
        task_code=task_code(config.task),
        problem=code_behind(task.problem, *filter(callable, getattr(task.problem, "__dict__", {}).values())),
        weights={model.name: model.weights for model in models},
        code={model.name: model.code for model in models},
        scenarios=[str(scenario) for scenario in requested],
        search=_code(resolve("search", options.plain(config.search))),
        schedules={str(each): _code(resolve("schedule", str(each).partition("(")[0])) for each in schedules},
        attacks={text: _code(extra_attacks.reference(text)) for text in config.attack},
        corruptions={str(each): _code(each.reference(task)) for each in corruptions},
        answers={name: each.fingerprint.digest for name, each in answering.items()},
    ).with_optional(
        thresholds=list(thresholds_of(task.problem)),
        batch_size=_batch_size(config, requested, answering),
        labels=_labels(answering),
        applied=_of_users(config, task, models, requested, conditions, searches),
        searches={name: text for name, (text, _) in searched.items() if text != config.search},
    )
    of_models = {name: InTurn((search, *attacks)) for name, (_, search) in searched.items()}
    conditions = [*([] if config.schedule == NO_SCHEDULE else each_missing(task)), *conditions]
    return Work(
        _name(identity),
        identity,
        task,
        models,
        config,
        list(groups.values()),
        requested,
        conditions,
        of_models,
        answering,
    )


def _code(reference: Reference) -> str:
    """The code of a search, schedule, attack or corruption; of a user's also what it holds in
    globals.
    """
    code = code_hash(reference)
    return digest([code, code_behind(reference.target)]) if is_users(reference) else code


def _labels(answering: Mapping[str, Answering]) -> dict[str, str]:
    """The answers of users' models to labels that the fixed samples lack."""
    found = {
        name: each.fingerprint.labels_digest
        for name, each in answering.items()
        if code_of(name) or held("model", name) is not None
    }
    return {name: digest for name, digest in found.items() if digest}


def _of_users(
    config: Evaluation,
    task: Task,
    models: Sequence[Loaded],
    requested: Sequence[Scenario],
    conditions: Sequence[Condition],
    searches: Mapping[str, Search],
) -> dict[str, str]:
    """The effect of users' schedules, corruptions, attacks and search; registered ones are
    identified by their code.
    """
    rules = [each for each in conditions if is_users(_reference(each, task))]
    own = {text: each for text, each in searches.items() if is_users(_attack(config, text))}
    return conditions_applied(rules, task) | searches_applied(own, task, models, requested, config.limit)


def _reference(condition: Condition, task: Task) -> Reference:
    if isinstance(condition, corruption.Corruption):
        return condition.reference(task)
    return resolve("schedule", str(condition).partition("(")[0])


def _attack(config: Evaluation, text: str) -> Reference:
    return resolve("search", options.plain(text)) if text == config.search else extra_attacks.reference(text)


def _batch_size(config: Evaluation, requested: Sequence[Scenario], answering: Mapping[str, Answering]) -> int | None:
    """The batch size, if results depend on which samples are computed together; else None.

    Raises:
        BadInput: only a part of the samples is to be done, and an edit is made for a whole batch.
    """
    shared = any(ball.edit.shared for scenario in requested for ball in scenario.edits)
    if shared and config.shard is not None:
        raise BadInput(
            f"--shard {config.shard}: an edit that a whole batch shares makes results depend on the batch: leave"
            " --shard out"
        )
    alone = not shared and config.draws is None and all(each.steadiness.holds for each in answering.values())
    return None if alone else config.batch_size


def _left_out(config: Evaluation) -> set[str]:
    """The options that do not determine the results. Runs without draws or certificates keep the
    ids they had.
    """
    certificates = () if config.certify else ("certify", "certify_samples", "certify_limit")
    return {*RESULT_NEUTRAL, *(() if config.draws else ("draws",)), *certificates}


def _name(identity: Identity) -> str:
    """A run's id. Half of it is a hash of the request, the code and the weights; half is a hash of
    the models' answers.

    On another machine answers differ in their last bits; `harness.engine.resuming` then compares
    them.
    """
    answered = {key: value for key, value in identity.content().items() if key in ANSWERED}
    return requested_id(identity) + digest(answered if len(answered) > 1 else identity.answers)[:HALF_NAME]


def requested_id(identity: Identity) -> str:
    """The half of the id that is the same on every machine."""
    requested = {key: value for key, value in identity.content().items() if key not in ANSWERED}
    return digest(requested)[:HALF_NAME]


def checked(text: str, task: Task) -> Scenario:
    """The scenario, if it parses and fits the task.

    Raises:
        BadInput: it does not.
    """
    scenario = parse(text)
    for name in mentioned(text):
        task.modality(name)
    task.check_scenario(scenario)
    return scenario


def cells(work: Work, done: Mapping[str, Collection[str]] | None = None) -> list[Cell]:
    """The remaining cells when some samples of some models are done, model by model."""
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
    return Cell(digest([work.run, model.name, [names[row] for row in rows]])[:16], model, tuple(rows))


def load_all(config: Evaluation, device: torch.device) -> tuple[Task, list[Loaded]]:
    """The task and the models of an evaluation, with its judge.

    Raises:
        BadInput: one of them cannot be loaded, or does not fit the judge.
    """
    task = load_task(config.task)
    models = [load_model(name, task, device, config.seed) for name in config.model]
    if config.draws is not None:
        if config.judge != "answers":
            raise BadInput(f"--draws {config.draws} needs --judge answers: leave --judge {config.judge} out")
        return over_draws(task, config), drawn(models, config)
    if config.judge == "answers":
        return task, models
    judged = unlabelled(task)
    rows = _read_anyway(config, task)
    return judged, [replace(each, module=watched(each, judged, device, rows)) for each in models]


def _read_anyway(config: Evaluation, task: Task) -> list[int]:
    """All test samples; where they are read as they are needed, those under test and those of
    fingerprints.
    """
    names = task.splits["test"].samples
    if "test" in task.in_memory:
        return list(range(len(names)))
    return sorted({*chosen_rows(config, names), *fixed_rows(task)})
