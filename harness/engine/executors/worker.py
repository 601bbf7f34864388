"""The worker of an engine: a process that loads the task and the models, and then gets cells.

A model never travels: each worker loads it from its reference, once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from attacks.errors import BadInput
from harness.engine.answering import Answering, Steadiness
from harness.engine.environment import choose_device
from harness.engine.executors.outcome import Failed, Outcome, carried_out
from harness.engine.fingerprint import fingerprint
from harness.engine.loading import Loaded
from harness.engine.plan import Cell, Work, load_all, prepare
from harness.engine.standing import Standing, another, another_model, as_begun, describe, standing
from harness.run.config import Evaluation
from harness.run.description import Description
from harness.run.fingerprint import packed, unpacked
from harness.run.schema import Parts

Request = tuple[str, str, tuple[int, ...], float | None]
"""To a worker: a cell's model by name, its key and its rows, and the seconds left of the budget."""
Sent = tuple[Outcome, bytes]
"""From a worker: an outcome without its witnesses, and these as safetensors."""


@dataclass(frozen=True)
class Begun:
    """The data that a worker needs of a run.

    Attributes:
        config: its configuration.
        description: the contents of `run.json`.
        prints: the fingerprints of its models.
        steadiness: whether its models answer alike, by model.
    """

    config: dict[str, Any]
    description: Description
    prints: bytes
    steadiness: dict[str, Steadiness]

    @property
    def answering(self) -> dict[str, Answering]:
        return {name: Answering(each, self.steadiness[name]) for name, each in unpacked(self.prints).items()}


def begun(work: Work, device: torch.device) -> Begun:
    """The data that the workers of a run need."""
    prints = {name: each.fingerprint for name, each in work.answering.items()}
    steady = {name: each.steadiness for name, each in work.answering.items()}
    return Begun(work.config.model_dump(mode="json"), describe(work, device), packed(prints), steady)


@dataclass(frozen=True)
class _Bench:
    """The state of a worker: the loaded task and models, and the models that it has compared with
    those of the run.
    """

    work: Work
    device: torch.device
    run: Standing
    known: set[str] = field(default_factory=set)

    def model(self, name: str) -> Loaded:
        """A model, after a check that it gives the same answers as the driver's model. Its first
        cell makes the check.

        Raises:
            BadInput: it does not.
        """
        loaded = next(each for each in self.work.models if each.name == name)
        if name not in self.known:
            now = Standing(
                describe(self.work, self.device),
                {name: fingerprint(loaded.module, self.work.task, self.device, self.work.config.cell_limit)},
            )
            _refuse(another_model(self.run, now, ()))
            self.known.add(name)
        return loaded


_HERE: list[_Bench | BadInput] = []


def ready(start: Begun, threads: int) -> None:
    """Load the task and the models, once for each process; the data root is in the environment.

    Errors in loading, or changes since the run began, are raised with the first cell: nobody reads
    errors at the start of a process.
    """
    torch.set_num_threads(threads)
    try:
        _HERE[:] = [_loaded(start)]
    except BadInput as error:
        _HERE[:] = [error]


def _loaded(start: Begun) -> _Bench:
    evaluation = Evaluation.model_validate(start.config)
    device = choose_device(evaluation.device)
    work = prepare(evaluation, *load_all(evaluation, device), start.answering)
    run, description = Standing(start.description, unpacked(start.prints)), describe(work, device)
    _refuse(another(run, standing(work, description)))
    return _Bench(as_begun(work, description, start.description)[0], device, run)


def _refuse(why: str) -> None:
    if why:
        raise BadInput(f"the run {why} than a worker loads: a file changed during the run, or differs on that machine")


def request(cell: Cell, deadline: float | None) -> Request:
    """The message to a worker. Clocks of machines differ, so the deadline (`time.monotonic`)
    travels as remaining time.
    """
    return cell.model.name, cell.key, cell.rows, None if deadline is None else deadline - time.monotonic()


def worked(model: str, key: str, rows: tuple[int, ...], seconds: float | None) -> Sent:
    """Do a cell, in the process that is `ready`."""
    bench = _HERE[0]
    if isinstance(bench, BadInput):
        raise bench
    work, device, loaded = bench.work, bench.device, bench.model(model)
    deadline = None if seconds is None else time.monotonic() + seconds
    outcome = carried_out(work, Cell(key, loaded, rows), device, lambda samples, gradients: None, deadline)
    if isinstance(outcome, Failed) or not outcome.witnesses:
        return outcome, b""
    return replace(outcome, witnesses={}), to_safetensors(outcome.witnesses)


def received(sent: Sent) -> Outcome:
    """A worker's result, unpacked."""
    outcome, witnesses = sent
    if isinstance(outcome, Parts) and witnesses:
        outcome.witnesses.update(from_safetensors(witnesses))
    return outcome


def gradients(outcome: Outcome) -> int:
    """The number of gradient evaluations of an outcome."""
    return sum(row["gradients"] or 0 for row in outcome.rows["ledger"]) if isinstance(outcome, Parts) else 0
