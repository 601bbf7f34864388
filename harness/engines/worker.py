"""The far side of an engine: a process that has loaded the task and the models, and is sent cells.

A model never travels: each worker loads it from its reference, once.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from harness.cell import Parts
from harness.config import Evaluation
from harness.engines.outcome import Failed, Outcome, carried_out
from harness.environment import choose_device
from harness.neighbourhood import load_all
from harness.plan import Cell, Work, prepare

Asked = tuple[str, str, tuple[int, ...], float | None]
"""To a worker: a cell's model by name, its key and its rows, and the seconds left of the budget."""
Sent = tuple[Outcome, bytes]
"""From a worker: an outcome without its witnesses, and these as safetensors."""

_HERE: list[tuple[Work, torch.device]] = []


def ready(config: dict[str, object], run: str, threads: int) -> None:
    """Load the task and the models, once for each process; the data root is in the environment."""
    torch.set_num_threads(threads)
    evaluation = Evaluation.model_validate(config)
    device = choose_device(evaluation.device)
    work = prepare(evaluation, *load_all(evaluation, device))
    if work.run != run:
        raise RuntimeError("the task or a model is not what it was when the run began: a file changed under it")
    _HERE[:] = [(work, device)]


def asked(cell: Cell, deadline: float | None) -> Asked:
    """What to tell a worker; clocks of machines differ, so the deadline (`time.monotonic`) travels as what is left."""
    return cell.model.name, cell.key, cell.rows, None if deadline is None else deadline - time.monotonic()


def worked(model: str, key: str, rows: tuple[int, ...], seconds: float | None) -> Sent:
    """Do a cell, in the process that is `ready`."""
    work, device = _HERE[0]
    loaded = next(each for each in work.models if each.name == model)
    deadline = None if seconds is None else time.monotonic() + seconds
    outcome = carried_out(work, Cell(key, loaded, rows), device, lambda samples, gradients: None, deadline)
    if isinstance(outcome, Failed) or not outcome.witnesses:
        return outcome, b""
    return replace(outcome, witnesses={}), to_safetensors(outcome.witnesses)


def received(sent: Sent) -> Outcome:
    """What a worker sent, put together again."""
    outcome, witnesses = sent
    if isinstance(outcome, Parts) and witnesses:
        outcome.witnesses.update(from_safetensors(witnesses))
    return outcome


def gradients(outcome: Outcome) -> int:
    """How many gradient evaluations an outcome took."""
    return sum(row["gradients"] for row in outcome.rows["ledger"]) if isinstance(outcome, Parts) else 0
