"""Certificates beside the critical strengths of a cell: what provably withstands."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from attacks.certify import Certified, Guarded, Uncertified, certified_strength, enumerated_strength
from attacks.errors import QUOTED, plain
from attacks.region import Bounds, Range, take
from attacks.scenario import Scenario, parse
from harness.engine.drawn import Drawn
from harness.engine.objective import TaskObjective
from harness.engine.plan import Work
from harness.engine.singly import passed_on
from harness.models.partial_encoding import answered
from harness.run.schema import Parts
from harness.tasks import Batch
from harness.tasks.problems.problem import Certifiable, thresholds_of

BEYOND = 1e-3  # relative: how far above a witness a certificate is looked for, as an alarm
EQUAL = 1e-6  # relative: a certificate so little above a witness is equal to it
LATE = "time was over"


def add_certificates(
    work: Work, name: str, objective: TaskObjective, bounds: Bounds, batch: Batch, parts: Parts
) -> None:
    """Fill the columns of certificates in the ledger's rows of a batch, and note contradictions.

    Larger scenarios come first, because what they certify holds for smaller ones.

    Args:
        objective: of the samples of the batch, with the scenarios' modalities missing.
        bounds: of the same batch.
    """
    by_scenario: dict[Scenario, list[dict[str, Any]]] = {}
    for row in parts.rows["ledger"]:
        if row["status"] == "ok" and row["sample"] in work.certified_samples:
            by_scenario.setdefault(parse(row["scenario"]), []).append(row)
    unfit = _unfit(work, name, objective.model)
    held: dict[Scenario, dict[str, float]] = {}
    for scenario in sorted(by_scenario, key=lambda each: -len(each.attacked)):
        rows = by_scenario[scenario]
        found = unfit or _certificates(work, objective, bounds, batch, scenario, rows)
        larger = [held[other] for other in held if scenario < other]
        held[scenario] = _recorded(str(work.config.certify), rows, found, larger)
        parts.contradictions += _contradictions(name, rows)


def _certificates(
    work: Work,
    objective: TaskObjective,
    bounds: Bounds,
    batch: Batch,
    scenario: Scenario,
    rows: Sequence[Mapping[str, Any]],
) -> Certified | str:
    """The certificates of the samples of these rows under a scenario, or why there are none."""
    device, config = objective.targets.device, work.config
    places = torch.tensor([batch.samples.index(row["sample"]) for row in rows], device=device)
    here, inputs = objective.take(places), take(batch.inputs, places)
    ranges = {name: Range(*(end[places] for end in valid.ends)) for name, valid in bounds.items()}
    deadline = None if config.certify_limit is None else time.monotonic() + config.certify_limit * len(rows)
    try:
        if config.certify == "enumeration":
            return enumerated_strength(here, inputs, ranges, scenario, deadline)
        reached = torch.tensor([row["strength"] for row in rows], dtype=torch.float64, device=device)
        most = (reached * (1 + BEYOND)).clamp(max=config.limit)
        with _constant(objective.model):
            return certified_strength(guarded(here), inputs, ranges, scenario, most, deadline)
    except Uncertified as reason:
        return str(reason)
    except Exception as error:  # the model's own code, on tensors that carry bounds
        passed_on(error)
        return f"the model raises {type(error).__name__} while it is bounded: {plain(str(error))[:QUOTED]}"


def guarded(objective: TaskObjective) -> Guarded:
    """A model on a batch, as certificates need it: without padding, and with margins."""
    task, targets, present = objective.task, objective.targets, objective.present

    def model(inputs: Mapping[str, Tensor]) -> Tensor:
        return answered(objective.model, task.with_stand_ins(dict(inputs), present), {}, present.clone())

    def margins(outputs: Tensor) -> Tensor:
        assert isinstance(task.problem, Certifiable)
        return task.problem.withstood(outputs, targets)

    return Guarded(model, margins)


@contextmanager
def _constant(model: nn.Module) -> Iterator[None]:
    """Without gradients of the parameters, so that only the inputs move."""
    moving = [each for each in model.parameters() if each.requires_grad]
    for each in moving:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in moving:
            each.requires_grad_(True)


def _unfit(work: Work, name: str, model: nn.Module) -> str | None:
    """Why no certificate of this model would be one."""
    if isinstance(model, Drawn):
        return "the model is random"
    if name in work.answering and not work.answering[name].steadiness.holds:
        return "the model's answers depend on the batch, or differ from call to call"
    if thresholds_of(work.task.problem):
        return "the answers are graded"
    if work.config.certify == "linear" and not isinstance(work.task.problem, Certifiable):
        return f"the problem {type(work.task.problem).__name__} has no margins to certify"
    return None


def _recorded(
    certifier: str, rows: Sequence[dict[str, Any]], found: Certified | str, larger: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Write the certificates into the rows; by sample, what is certified."""
    held: dict[str, float] = {}
    for number, row in enumerate(rows):
        inherited = [each[row["sample"]] for each in larger if row["sample"] in each]
        reason = found if isinstance(found, str) else None if bool(found.ended[number]) else LATE
        own = [] if isinstance(found, str) else [float(found.strength[number])]
        strength = max([*own, *inherited], default=None)
        row |= {"certified": strength, "certifier": certifier, "uncertified_reason": reason}
        if strength is not None:
            held[row["sample"]] = strength
    return held


def _contradictions(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The certificates above witnesses, in a sentence each."""
    return [
        f"model {name}, sample {row['sample']}, {row['scenario']}: a witness fails at strength {row['strength']:g}, but"
        f" strength {row['certified']:g} is certified: one of the two is wrong"
        for row in rows
        if row["certified"] is not None and row["certified"] > row["strength"] * (1 + EQUAL)
    ]
