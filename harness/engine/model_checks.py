"""Check each model before a run, also on the first samples under test, which may kill a process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from harness.engine.answering import Answering, Steadiness, slopes_of, steadiness, steadiness_on
from harness.engine.choice import chosen_rows, samples_at_once
from harness.engine.environment import choose_device
from harness.engine.executors.parent import end_with_parent
from harness.engine.fingerprint import fingerprint
from harness.engine.loading import Loaded
from harness.engine.plan import load_all
from harness.run.config import Evaluation
from harness.storage.output import make_patient
from harness.tasks import Task

FIRST = 256  # samples under test that a model also gets alone

Rows = Sequence[int]


def check_models(
    models: Iterable[Loaded], task: Task, device: torch.device, config: Evaluation
) -> dict[str, Answering]:
    """Check each model, in at most `config.cell_limit` seconds for each of the two checks. The
    model does not change.

    A run with workers gives the first samples under test to a process of their own: a sample that
    kills its process costs its cell, not the run. The samples behind it are then not checked.
    """
    found, together = {}, samples_at_once(config)
    first = _first(task, config, together)
    with _on_first(config, task, device) as on_first:
        for model in models:
            prints = fingerprint(model.module, task, device, config.cell_limit)
            steady = steadiness(model.module, task, device, config.cell_limit, together)
            slopes = slopes_of(model.module, task, device, config.cell_limit)
            found[model.name] = Answering(prints, steady.joined(on_first(model, first)), slopes)
    return found


def _first(task: Task, config: Evaluation, together: int) -> list[Rows]:
    """The rows of the first samples under test, in the batches of the run. None where samples are
    read as they are needed: they would be read twice.
    """
    if "test" not in task.in_memory:
        return []
    rows = chosen_rows(config, task.splits["test"].samples)[:FIRST]
    return [rows[start : start + together] for start in range(0, len(rows), together)]


OnFirst = Callable[[Loaded, Sequence[Rows]], Steadiness]


@contextmanager
def _on_first(config: Evaluation, task: Task, device: torch.device) -> Iterator[OnFirst]:
    """Gives a model the first samples: in this process, or in another where the run has workers."""
    if config.workers == 1 and config.engine == "local":
        yield lambda model, first: steadiness_on(model.module, task, device, config.cell_limit, first)
        return
    with _Apart(config) as apart:
        yield apart.check


@dataclass
class _Apart:
    """A process that loads the models of a run, and begins anew after a sample that kills it."""

    config: Evaluation
    pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> _Apart:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def check(self, model: Loaded, first: Sequence[Rows]) -> Steadiness:
        found = Steadiness(0.0, 0.0)
        try:
            for rows in first:
                found = found.joined(self._begun().submit(_checked, model.name, tuple(rows)).result())
        except BrokenProcessPool:
            self._end()
        return found

    def _begun(self) -> ProcessPoolExecutor:
        if self.pool is None:
            start = (self.config.model_dump(mode="json"),)
            spawn = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(1, spawn, initializer=_started, initargs=start)
        return self.pool

    def _end(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool = None


_CONFIG: dict[str, Any] = {}


def _started(config: dict[str, Any]) -> None:
    """The start of the process."""
    end_with_parent()
    make_patient()
    _CONFIG.update(config)


@cache
def _loaded() -> tuple[Evaluation, torch.device, Task, dict[str, Loaded]]:
    config = Evaluation.model_validate(_CONFIG)
    device = choose_device(config.device)
    task, models = load_all(config, device)
    return config, device, task, {each.name: each for each in models}


def _checked(name: str, rows: Rows) -> Steadiness:
    """The check of a batch, in the process of its own."""
    config, device, task, models = _loaded()
    return steadiness_on(models[name].module, task, device, config.cell_limit, [rows])
