"""Attributions: the parts of an input that support the right answer, untouched, on the smallest
witness, and with a modality missing.

The attributed number is how far a sample is from failing, minus the margin of its verdict. Every
kind of task has it. For a classifier it is the logit of the right class minus that of the best
other class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import torch
from torch import Tensor

from attacks.objective import preserved
from attacks.region import Inputs
from attacks.scenario import Scenario
from attacks.search_state import search_all
from harness.engine.loading import Loaded
from harness.engine.objective import TaskObjective
from harness.engine.plan import Work
from harness.engine.presence import by_presence
from harness.engine.sweep import part as some_of
from harness.explain.methods import SHOWN, Case, explained, games_of
from harness.explain.selection import samples
from harness.models.protocols import Explaining
from harness.run.schema import Attributed
from harness.tasks import Batch

CLEAN = "clean"


def attribute(work: Work, model: Loaded, ledger: pa.Table, device: torch.device) -> Attributed:
    """The attributions of one model of a run, on its ledger; the model does not change, also after
    an exception.
    """
    chosen = samples(work, model, ledger)
    task = work.task
    found = Attributed([], {})
    if not chosen:
        return found
    rows = [task.splits["test"].samples.index(sample) for sample in chosen]
    batch = task.splits["test"].take(rows).to(device)
    with preserved(model.module):
        for case in cases(work, model, batch):
            for row in range(len(case.batch)):  # alone: the attribution of a sample may not depend on its batch
                _store(work, model, case.of(row), chosen, found)
    return found


def cases(work: Work, model: Loaded, batch: Batch) -> Iterator[Case]:
    """The samples clean, with each modality missing, and on the smallest witness of every requested
    scenario.

    A search does not depend on the batch of a sample, so searching these again finds the witnesses
    of the ledger.
    """
    task = work.task
    yield Case(CLEAN, batch, task.present(batch))
    for name in task.optional if len(task.names) > 1 else ():
        yield Case(f"missing {name}", batch, task.present(batch, [name]))
    for group in work.scenarios:
        for rows, able in by_presence(task, batch, group):
            yield from _attacked(work, model, some_of(batch, rows), able)


def _attacked(work: Work, model: Loaded, batch: Batch, group: Sequence[Scenario]) -> Iterator[Case]:
    """The samples on their witnesses, of a group's scenarios that the run requests."""
    task = work.task
    if not group:
        return
    present = task.present(batch, group[0].missing)
    steps = search_all(
        work.searches[model.name],
        TaskObjective(model.module, task, batch.targets, present, {}),
        batch.inputs,
        task.bounds(batch),
        group,
        samples=batch.samples,
        seed=work.config.seed,
        limit=work.config.limit,
    )
    for scenario, found in steps:
        failed = found.strength.isfinite().nonzero().squeeze(1)
        if scenario in work.requested and scenario.attacked and len(failed):
            yield _witnessed(scenario, batch, found.witness, present, failed)


def _witnessed(scenario: Scenario, batch: Batch, witness: Inputs, present: Tensor, rows: Tensor) -> Case:
    moved = batch.take(rows)
    moved.inputs.update({name: x[rows] for name, x in witness.items() if name in moved.inputs})
    return Case(str(scenario), moved, present[rows])


def _store(work: Work, model: Loaded, case: Case, why: Mapping[str, str], found: Attributed) -> None:
    task = work.task
    explanation = explained(model.module, task, case)
    own = model.module.explain(case.batch.inputs, case.present) if isinstance(model.module, Explaining) else {}
    games = games_of(model.module, task, case)
    sizes = (explanation.parts[name].flatten(1).abs().sum(1) for name in task.names)
    totals = sum(sizes, torch.zeros_like(explanation.output))
    delta = explanation.delta(task.names)
    shared = {"run": work.run, "task": task.name, "model": model.name, "condition": case.name}
    for row, sample in enumerate(case.batch.samples):
        values = explanation.output[row].item(), explanation.baseline[row].item(), delta[row].item()
        numbers: dict[str, float | None] = dict(zip(("output", "baseline", "delta"), values, strict=True))
        for name, part in explanation.parts.items():
            share = part[row].abs().sum().item() / max(totals[row].item(), 1e-12) if name in task.names else None
            numbers |= {"share": share, "shapley": games[name][row].item() if name in games else None}
            found.add(
                {
                    **shared,
                    "sample": sample,
                    "why": why[sample],
                    "method": explanation.method,
                    "modality": name,
                    **numbers,
                },
                part[row],
            )
        for name, shown in own.items():
            numbers |= {"share": None, "shapley": None}
            found.add(
                {**shared, "sample": sample, "why": why[sample], "method": SHOWN, "modality": name, **numbers},
                shown[row],
            )


def key_of(model: Loaded) -> str:
    """The name of a model's part in the run directory."""
    return hashlib.sha256(model.name.encode()).hexdigest()[:16]
