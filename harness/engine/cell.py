"""Run one cell: the clean pass, the sweep and the ledger of one model on one shard."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from attacks.eot import Expectation, judged
from attacks.objective import preserved
from attacks.region import Inputs, Region
from attacks.scenario import Scenario, closure
from attacks.search_state import Found, search_all
from harness.engine.answers import attacked_answers, untouched_answers
from harness.engine.certifying import add_certificates
from harness.engine.compiled import compiled
from harness.engine.graded import Result, front_rows, searched
from harness.engine.judged import check_widths, judged_rows, taken_out
from harness.engine.ledger import empty_rows, found_rows, witness_key
from harness.engine.objective import TaskObjective
from harness.engine.plan import Cell, Work
from harness.engine.presence import by_presence
from harness.engine.singly import OutOfTime, passed_on, singled_out
from harness.engine.sweep import part, sweep_rows
from harness.run.schema import SCHEMAS, Parts
from harness.schedules import bits
from harness.tasks import Batch, Task
from harness.tasks.batch import joined
from harness.tasks.problems.problem import Problem, thresholds_of
from harness.tasks.sample_hashes import sample_hashes

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}

Progress = Callable[[int, int], None]
"""Called with the numbers of finished searches of samples and of their gradient evaluations."""


def _failed(parts: Parts, condition: object, error: BaseException) -> None:
    """Note why rows of a condition are errors, once.

    Raises:
        the error, if it does not belong to the condition: no memory, no time, or input that no part
            of the run can use.
    """
    passed_on(error)
    text = f"{condition}:\n{''.join(traceback.format_exception(error))}"
    parts.errors += [] if text in parts.errors else [text]


def run_cell(work: Work, cell: Cell, device: torch.device, progress: Progress, deadline: float | None) -> Parts:
    """All rows of a cell. The model is left as it was, also after an exception.

    Args:
        deadline: by `time.monotonic`.

    Raises:
        OutOfTime: the deadline has passed.
    """
    task, config, module = work.task, work.config, cell.model.module
    parts = Parts()
    with preserved(module):
        batch, outputs = _untouched(task, cell, device, parts)
        untouched = judged_rows(task.problem, outputs, batch.targets)
        parts.rows["samples"] += _sample_rows(task.problem, batch, untouched)
        parts.witnesses |= untouched_answers(work, batch, outputs)
        parts.rows["sweep"] += sweep_rows(
            module, task, batch, work.schedules, config.repeats, config.seed, partial(_failed, parts)
        )
        progress(len(parts.lost) * work.search_count, 0)
        twin = compiled(module) if config.compile else None
        for found in _attacked(work, cell.model.name, module, twin, batch, progress, deadline):
            parts.take_in(found)
    clean = {sample: row["score"] for sample, row in zip(batch.samples, untouched, strict=True)}
    shared = {"run": work.run, "task": task.name, "model": cell.model.name, "seed": config.seed, "limit": config.limit}
    check_widths(chain.from_iterable(parts.rows.values()), work.tally_width)
    parts.rows["tallies"] = list(taken_out(parts.rows))
    for name, rows in parts.rows.items():
        full = [{**row, **shared, "clean_score": clean[row["sample"]]} for row in rows]
        parts.rows[name] = [{key: row[key] for key in SCHEMAS[name].names} for row in full]
    return parts


def _attacked(
    work: Work,
    name: str,
    module: nn.Module,
    twin: nn.Module | None,
    batch: Batch,
    progress: Progress,
    deadline: float | None,
) -> Iterator[Parts]:
    """The results of every scenario, on samples that came with the same modalities at a time."""
    for group in work.scenarios:
        for rows, able in by_presence(work.task, batch, group):
            left_out = _left_out(work, [batch.samples[row] for row in rows], group, able)
            progress(len(left_out.rows["ledger"]), 0)
            yield left_out
            search = partial(_searched, work, name, module, twin, batch, able, progress, deadline)
            for _, found in singled_out(rows, search) if able else ():
                if isinstance(found, BaseException):  # no scenario of the group could be begun
                    raise found
                yield found


def _untouched(task: Task, cell: Cell, device: torch.device, parts: Parts) -> tuple[Batch, Tensor]:
    """The samples of a cell that the model can answer, and its outputs on them. The others are
    noted as lost.

    Raises:
        the error, if the model can answer no sample.
    """
    taken = list(singled_out(cell.rows, task.splits["test"].take))
    unread = [(rows[0], error) for rows, error in taken if isinstance(error, BaseException)]
    for row, error in unread:
        _failed(parts, "untouched", error)
        parts.lost.append(row)
    if len(unread) == len(cell.rows):
        raise unread[0][1]
    read = [row for rows, batch in taken if isinstance(batch, Batch) for row in rows]
    whole = joined([batch for _, batch in taken if isinstance(batch, Batch)]).to(device)

    @torch.no_grad()
    def ask(rows: Sequence[int]) -> Tensor:
        batch = part(whole, rows)
        return TaskObjective(cell.model.module, task, batch.targets, task.present(batch), {}).outputs(batch.inputs)

    answered = list(singled_out(range(len(whole)), ask))
    right = [(row, outputs) for row, outputs in answered if isinstance(outputs, Tensor)]
    wrong = [(row, error) for row, error in answered if isinstance(error, BaseException)]
    if not right:
        raise wrong[0][1]
    for (row, *_), error in wrong:
        _failed(parts, "untouched", error)
        parts.lost.append(read[row])
    return part(whole, [row for rows, _ in right for row in rows]), torch.cat([outputs for _, outputs in right])


def _left_out(work: Work, samples: Sequence[str], group: Sequence[Scenario], able: Sequence[Scenario]) -> Parts:
    """The rows of the scenarios that attack what these samples lack."""
    parts, thresholds, searched_too = Parts(), thresholds_of(work.task.problem), closure(able)
    for scenario in closure(group):
        if scenario not in searched_too:
            parts.rows["ledger"] += empty_rows(scenario, samples, thresholds, "skipped")
    return parts


def _searched(
    work: Work,
    name: str,
    module: nn.Module,
    twin: nn.Module | None,
    whole: Batch,
    group: Sequence[Scenario],
    progress: Progress,
    deadline: float | None,
    rows: Sequence[int],
) -> Parts:
    """Run the searches of some scenarios on some samples of a cell.

    Raises:
        the error of a search on several samples. With one sample alone, only the rows of its
        scenario are errors.
    """
    batch, parts, steps = part(whole, rows), Parts(), _Steps(progress, deadline)
    thresholds = sorted(thresholds_of(work.task.problem), reverse=True)
    objective, everything = objectives_of(work, module, twin, batch, group[0].missing)
    lost: set[Scenario] = set()

    def lose(scenario: Scenario, error: BaseException) -> None:
        if scenario in lost:  # at another threshold
            return
        if len(batch) > 1:
            steps.take_back()  # these samples are searched again
            raise error
        lost.add(scenario)
        _failed(parts, scenario, error)
        parts.rows["ledger"] += empty_rows(scenario, batch.samples, thresholds)

    def on_error(scenario: Scenario, error: BaseException) -> None:
        lose(scenario, error)
        steps.advance(1)

    def on_attack_error(scenario: Scenario, error: BaseException) -> None:
        passed_on(error)
        if len(batch) > 1:
            raise error  # by `on_error`, these samples are searched again, fewer at a time
        _failed(parts, f"an attack after the search, {scenario}", error)

    search = partial(
        _stepped,
        steps,
        work.searches[name],
        **search_arguments(work, batch, group),
        on_error=on_error,
        on_attack_error=on_attack_error,
    )
    for results in searched(search, objective, everything, batch.inputs, thresholds):
        try:
            parts.take_in(recorded(work, objective, batch, results))
        except (Exception, SystemExit) as error:
            lose(results[0].scenario, error)
    if work.config.certify is not None:
        add_certificates(work, name, objective, work.task.bounds(batch), batch, parts)
    return parts


@dataclass
class _Steps:
    """Reports searches of samples as they end; of graded answers, one at each threshold."""

    progress: Progress
    deadline: float | None
    done: int = 0

    def advance(self, samples: int, gradients: int = 0) -> None:
        """Raises OutOfTime where the deadline has passed."""
        self.done += samples
        self.progress(samples, gradients)
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTime

    def take_back(self) -> None:
        self.progress(-self.done, 0)


def _stepped(steps: _Steps, *args: Any, **options: Any) -> Iterator[tuple[Scenario, Found]]:
    """`search_all`, whose progress is reported."""
    for scenario, found in search_all(*args, **options):
        steps.advance(len(found.strength), int(found.gradients.sum()))
        yield scenario, found


def search_arguments(work: Work, batch: Batch, scenarios: Sequence[Scenario]) -> dict[str, Any]:
    """The arguments of `search_all` for some scenarios on a batch, but the search and the
    objective.
    """
    return {
        "inputs": batch.inputs,
        "bounds": work.task.bounds(batch),
        "scenarios": scenarios,
        "samples": batch.samples,
        "seed": work.config.seed,
        "limit": work.config.limit,
    }


def objectives_of(
    work: Work, module: nn.Module, twin: nn.Module | None, batch: Batch, missing: Sequence[str]
) -> tuple[TaskObjective, TaskObjective]:
    """What the searches raise, with these modalities missing; and the same on the samples as they
    came.
    """
    everything = TaskObjective(module, work.task, batch.targets, work.task.present(batch), {})
    present, dtype = work.task.present(batch, missing), PRECISIONS[work.config.precision]
    return TaskObjective(module, work.task, batch.targets, present, {}, search_dtype=dtype, twin=twin), everything


@torch.no_grad()
def recorded(work: Work, objective: TaskObjective, batch: Batch, results: Sequence[Result]) -> Parts:
    """The rows and the witnesses of what was found under one scenario."""
    parts = Parts()
    for result in results:
        outputs = _answers(work, objective, batch, result.scenario, result.found.witness)
        judged = judged_rows(work.task.problem, outputs, batch.targets)
        answers = found_rows(result.scenario, result.found, judged, result.threshold)
        parts.rows["ledger"] += [{"sample": sample, **row} for sample, row in zip(batch.samples, answers, strict=True)]
        parts.rows["fronts"] += front_rows(result, batch.samples)
        parts.witnesses |= _kept(work, batch, result) | attacked_answers(work, batch, result, outputs)
    return parts


def _answers(work: Work, objective: TaskObjective, batch: Batch, scenario: Scenario, witness: Inputs) -> Tensor:
    """The model's outputs on the witnesses; of those judged over draws, in the first draw that
    fails.
    """
    if not scenario.edits:
        return objective.outputs(witness)
    region = Region.of(batch.inputs, work.task.bounds(batch), scenario)
    over = judged(objective, region, batch.samples, work.config.seed)
    if not isinstance(over, Expectation):
        return objective.outputs(witness)
    outputs = torch.stack([objective.outputs(received) for received in over.received(witness)])
    fails = torch.stack([work.task.problem.verdict(each, batch.targets).fails for each in outputs])
    first = (fails.cumsum(0) == 0).sum(0) % len(fails)
    return outputs[first, torch.arange(len(batch), device=first.device)]


def _sample_rows(problem: Problem, batch: Batch, untouched: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("sample", "hash", "target", "group", "present")
    there = [None] * len(batch) if batch.present is None else bits(batch.present)
    rows = zip(batch.samples, sample_hashes(batch), problem.label(batch.targets), batch.groups, there, strict=True)
    return [{**dict(zip(names, row, strict=True)), **judged} for row, judged in zip(rows, untouched, strict=True)]


def _kept(work: Work, batch: Batch, result: Result) -> Inputs:
    """The attacked modalities of the witnesses to keep, by `witness_key`."""
    found = result.found
    return {
        witness_key(result.scenario, result.threshold, sample, name): found.witness[name][row].cpu().clone()
        for row, sample in enumerate(batch.samples)
        if sample in work.kept_samples and bool(found.strength[row].isfinite())
        for name in result.scenario.attacked_names
    }


def failed_rows(work: Work, cell: Cell, rows: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """The ledger of a cell that crashed, or of some rows of it: one row per sample and scenario,
    status ``error``, no number.
    """
    shared = {"run": work.run, "task": work.task.name, "model": cell.model.name, "seed": work.config.seed}
    samples = [work.task.splits["test"].samples[row] for row in (cell.rows if rows is None else rows)]
    scenarios = [scenario for group in work.scenarios for scenario in closure(group)]
    thresholds = thresholds_of(work.task.problem)
    return [{**row, **shared} for scenario in scenarios for row in empty_rows(scenario, samples, thresholds)]
