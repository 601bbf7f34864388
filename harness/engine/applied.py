"""The effect of users' corruptions, schedules, attacks and searches on a few fixed samples.

Hashes of their code do not cover a file that they read at run time; their results do, and the
contents of the files that they open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from attacks.objective import preserved
from attacks.region import Region
from attacks.scenario import Scenario
from attacks.search_state import Search, SearchState
from harness.engine.fingerprint import fixed_samples, one_thread
from harness.engine.loading import Loaded
from harness.engine.objective import TaskObjective
from harness.engine.sweep import Condition
from harness.references.opened import contents, opening
from harness.references.registry import Reference
from harness.references.userfile import is_our_own
from harness.storage.tensorfile import checksum
from harness.tasks import Task

RANDOM = "random"  # in a hash's place: its results differ each time, so they cannot be compared


def is_users(reference: Reference) -> bool:
    """Whether a reference names code that belongs neither to the harness nor to torchattacks."""
    return (
        bool(reference.source)
        and not is_our_own(Path(str(reference.source)))
        and not reference.text.startswith("torchattacks:")
    )


def conditions_applied(conditions: Iterable[Condition], task: Task) -> dict[str, str]:
    """For each schedule or corruption, a hash of the fixed samples' inputs after it, at each of its
    levels.
    """
    return {str(each): _twice(lambda each=each: _conditions(each, task)) for each in conditions}  # type: ignore[misc]


def searches_applied(
    searches: Mapping[str, Search], task: Task, models: Sequence[Loaded], requested: Iterable[Scenario], limit: float
) -> dict[str, str]:
    """For each attack or search, a hash of its result on the fixed samples against the first
    model.
    """
    attacked = next((scenario for scenario in requested if scenario.attacked), None)
    if attacked is None or not models:
        return {}
    module = models[0].module
    return {text: _twice(partial(_found, each, module, task, attacked, limit)) for text, each in searches.items()}


def _twice(answer: Callable[[], Mapping[str, Tensor]]) -> str:
    """A hash of a result, if two calls agree; a hash of the error, if the function raises."""
    with one_thread():
        try:
            first, second = (checksum(answer()) for _ in range(2))
        except (Exception, SystemExit) as error:  # the run meets this error when it needs the result
            return hashlib.sha256(repr(error).encode()).hexdigest()
    return first if first == second else RANDOM


def _conditions(condition: Condition, task: Task) -> dict[str, Tensor]:
    batch = fixed_samples(task)
    found: dict[str, Tensor] = {}
    for level in condition.levels:
        with opening() as files:
            inputs, present = condition.applied(task, batch, level, 0, 0)
        found |= _hashes(files)
        found |= {f"{level:g} {name}": x for name, x in inputs.items()} | {f"{level:g}": present}
    return found


def _found(search: Search, module: nn.Module, task: Task, scenario: Scenario, limit: float) -> dict[str, Tensor]:
    device = next((x.device for x in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    batch = fixed_samples(task).to(device)
    objective = TaskObjective(module, task, batch.targets, task.present(batch, scenario.missing), {})
    with preserved(module):
        state = SearchState(objective, Region.of(batch.inputs, task.bounds(batch), scenario), batch.samples, 0, limit)
        with opening() as files:
            search(state)
    return {**state.best.witness, "strength": state.best.strength, **_hashes(files)}


def _hashes(files: set[str]) -> dict[str, Tensor]:
    """The hashes of files that were opened, as tensors."""
    found = contents(files).items()
    return {f"file {name}": torch.tensor(list(bytes.fromhex(each)), dtype=torch.uint8) for name, each in found}
