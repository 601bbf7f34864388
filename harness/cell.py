"""Run one cell: the clean pass, the sweep and the ledger of one model on one shard."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor, nn

from attacks.errors import BadInput, ModelBroke
from attacks.expectation import Expectation, judged
from attacks.objective import preserved
from attacks.region import Inputs, Region
from attacks.scenario import Scenario, closure
from attacks.search import Found, search_all
from harness.compiled import compiled
from harness.ledger import LEDGER, error_rows, found_rows
from harness.objective import TaskObjective
from harness.plan import Cell, Work
from harness.sweep import SWEEP, sweep_rows
from harness.tasks import Batch
from harness.tasks.task import sample_hashes
from harness.timelimit import TooSlow

SAMPLES = pa.schema(
    [
        ("run", pa.string()),
        ("task", pa.string()),
        ("model", pa.string()),
        ("sample", pa.string()),
        ("hash", pa.string()),
        ("target", pa.float64()),
        ("group", pa.string()),
        ("prediction", pa.float64()),
        ("score", pa.float64()),
    ]
)
SCHEMAS = {"samples": SAMPLES, "sweep": SWEEP, "ledger": LEDGER}

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}

Progress = Callable[[int, int], None]
"""Told how many scenario-samples are done, and how many gradient evaluations they took."""


class OutOfTime(Exception):
    """The budget is spent; the cell is given up and done again when the run is resumed."""


@dataclass(eq=False)
class Parts:
    """What a cell adds to the run: rows per table, the witnesses to keep, and why some of its rows are errors."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in SCHEMAS})
    witnesses: Inputs = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def failed(self, condition: object, error: BaseException) -> None:
        """Note why the rows of a condition are errors.

        Raises:
            the error, where it is not the condition's: no memory, no time, or input that no part of the run can use.
        """
        if (
            out_of_memory(error)
            or isinstance(error, TooSlow | OutOfTime)
            or (isinstance(error, BadInput) and not isinstance(error, ModelBroke))
        ):
            raise error
        self.errors.append(f"{condition}:\n{''.join(traceback.format_exception(error))}")


def run_cell(work: Work, cell: Cell, device: torch.device, progress: Progress, deadline: float | None) -> Parts:
    """All rows of a cell. The model is left as it was, also after an exception.

    Args:
        deadline: by `time.monotonic`.

    Raises:
        OutOfTime: the deadline has passed.
    """
    task, config, module = work.task, work.config, cell.model.module
    batch = task.splits["test"].take(cell.rows).to(device)
    everything = torch.ones(len(batch), len(task.modalities), dtype=torch.bool, device=device)
    parts = Parts()
    with preserved(module):
        with torch.no_grad():
            outputs = TaskObjective(module, task, batch.targets, everything, {}).outputs(batch.inputs)
        scores = task.problem.score(outputs, batch.targets).double().tolist()
        parts.rows["samples"] += _sample_rows(batch, task.problem.predictions(outputs), scores)
        parts.rows["sweep"] += sweep_rows(module, task, batch, work.schedules, config.repeats, config.seed, parts.failed)
        _search(work, module, batch, everything, parts, progress, deadline)
    clean = dict(zip(batch.samples, scores, strict=True))
    shared = {"run": work.run, "task": task.name, "model": cell.model.name, "seed": config.seed, "limit": config.limit}
    for name, rows in parts.rows.items():
        full = [{**row, **shared, "clean_score": clean[row["sample"]]} for row in rows]
        parts.rows[name] = [{key: row[key] for key in SCHEMAS[name].names} for row in full]
    return parts


def _search(
    work: Work, module: nn.Module, batch: Batch, everything: Tensor, parts: Parts, progress: Progress, deadline: float | None
) -> None:
    task, twin = work.task, compiled(module) if work.config.compile else None
    for group in work.scenarios:
        present = everything.clone()
        for name in group[0].missing:
            present[:, task.names.index(name)] = False
        objective = TaskObjective(module, task, batch.targets, present, {}, search_dtype=PRECISIONS[work.config.precision], twin=twin)
        steps = search_all(
            work.search, objective, batch.inputs, task.bounds(batch), group,
            samples=batch.samples, seed=work.config.seed, limit=work.config.limit, on_error=partial(_error, parts, batch, progress),
        )  # fmt: skip
        for scenario, found in steps:
            try:
                with torch.no_grad():
                    predictions = task.problem.predictions(_answers(work, objective, batch, scenario, found.witness))
            except (Exception, SystemExit) as error:
                _error(parts, batch, progress, scenario, error)
                continue
            rows = found_rows(scenario, found, predictions)
            parts.rows["ledger"] += [{"sample": sample, **row} for sample, row in zip(batch.samples, rows, strict=True)]
            parts.witnesses |= _kept(work, batch, scenario, found)
            progress(len(batch), int(found.gradients.sum()))
            if deadline is not None and time.monotonic() > deadline:
                raise OutOfTime


def _error(parts: Parts, batch: Batch, progress: Progress, scenario: Scenario, error: BaseException) -> None:
    """A scenario whose search raised costs its own rows."""
    parts.failed(scenario, error)
    parts.rows["ledger"] += error_rows(scenario, batch.samples)
    progress(len(batch), 0)


def _answers(work: Work, objective: TaskObjective, batch: Batch, scenario: Scenario, witness: Inputs) -> Tensor:
    """The model's outputs on the witnesses; of those judged over draws, in the first draw that fails."""
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


def _sample_rows(batch: Batch, predictions: Tensor, scores: list[float]) -> list[dict[str, Any]]:
    columns = zip(
        batch.samples, sample_hashes(batch), batch.targets.double().tolist(), batch.groups, predictions.double().tolist(), scores,
        strict=True,
    )  # fmt: skip
    names = ("sample", "hash", "target", "group", "prediction", "score")
    return [dict(zip(names, row, strict=True)) for row in columns]


def _kept(work: Work, batch: Batch, scenario: Scenario, found: Found) -> Inputs:
    """The attacked modalities of the witnesses to keep, keyed ``scenario|sample|modality``."""
    return {
        f"{scenario}|{sample}|{name}": found.witness[name][row].cpu().clone()
        for row, sample in enumerate(batch.samples)
        if sample in work.kept_samples and bool(found.strength[row].isfinite())
        for name in scenario.attacked_names
    }


def failed_rows(work: Work, cell: Cell) -> list[dict[str, Any]]:
    """The ledger of a cell that crashed: one row per sample and scenario, status ``error``, no number."""
    shared = {"run": work.run, "task": work.task.name, "model": cell.model.name, "seed": work.config.seed}
    samples = [work.task.splits["test"].samples[row] for row in cell.rows]
    scenarios = [scenario for group in work.scenarios for scenario in closure(group)]
    return [{**row, **shared} for scenario in scenarios for row in error_rows(scenario, samples)]


def out_of_memory(error: BaseException) -> bool:
    """On a device, or on the CPU, where torch raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
