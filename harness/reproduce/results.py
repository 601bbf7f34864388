"""What the trials of a setting found: scores and critical strengths, seed by seed and sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from attacks.errors import BadInput
from harness.curves import query
from harness.measures import Array, contributions
from harness.models import checkpoint
from harness.reproduce.campaign import Trial
from harness.reproduce.study import Setting
from harness.tasks import Task

CLEAN = "clean"


@dataclass(frozen=True, eq=False)
class Results:
    """Of one setting: arrays (seeds, samples), the same samples in the same order for every system."""

    setting: Setting
    task: Task
    trials: Sequence[Trial]

    def scores(self, system: str, condition: str = CLEAN) -> Array:
        """Scores with everything present, or with ``missing NAME``; of a scenario, 1 where strength 1 is withstood."""
        if condition == CLEAN:
            return self._stacked(system, "samples", "score", "true")
        if condition.startswith("missing "):
            name = condition.removeprefix("missing ")
            return self._stacked(system, "sweep", "score", f"schedule = 'fixed({name})' and level = 1 and repeat = 0")
        return (self.strengths(system, condition) > 1).astype(float)

    def strengths(self, system: str, scenario: str) -> Array:
        """Critical strengths, upper bounds found by attack; inf where none was found up to the limit."""
        return self._stacked(system, "ledger", "strength", f"scenario = '{scenario}'")

    def shapley(self, system: str) -> dict[str, float]:
        """Each modality's contribution to the score, the mean over seeds."""
        found = [next(iter(contributions(trial.directory.table("sweep"), self.task.names).values())) for trial in self._of(system)]
        return {name: float(np.mean([each[name].value for each in found])) for name in self.task.names}

    def seconds(self, system: str) -> float:
        """Of training, the mean over seeds."""
        return float(np.mean([card["seconds"] for card in self._cards(system)]))

    def metric(self, system: str, name: str) -> Array:
        """A metric of the whole test split, one per seed."""
        return np.array([card["metrics"][f"test_{name}"] for card in self._cards(system)])

    def knows(self, system: str, name: str) -> bool:
        """Whether its trials have such a metric."""
        return all(f"test_{name}" in card["metrics"] for card in self._cards(system))

    def checkpoint_of(self, system: str) -> Trial:
        """The trial of the first seed."""
        return self._of(system)[0]

    def _cards(self, system: str) -> list[dict[str, Any]]:
        return [checkpoint.read_card(trial.checkpoint) for trial in self._of(system)]

    def _of(self, system: str) -> list[Trial]:
        return [trial for trial in self.trials if trial.system.name == system]

    @cached_property
    def groups(self) -> list[str]:
        """The group of each sample, in the order of all arrays."""
        table = self.trials[0].directory.table("samples")
        known = dict(zip(table.column("sample").to_pylist(), table.column("group").to_pylist(), strict=True))
        return [known[sample] for sample in self._samples]

    @cached_property
    def _samples(self) -> list[str]:
        return sorted(self.trials[0].directory.table("samples").column("sample").to_pylist())

    def _stacked(self, system: str, table: str, column: str, where: str) -> Array:
        rows = [self._row(trial, table, column, where) for trial in self._of(system)]
        return np.array(rows, dtype=float)

    def _row(self, trial: Trial, table: str, column: str, where: str) -> list[float]:
        found = dict(query(f"select sample, {column} from rows where {where}", rows=trial.directory.table(table)))
        if missing := [sample for sample in self._samples if sample not in found]:
            raise BadInput(f"run {trial.directory.url} lacks {len(missing)} samples where {where}: remove that folder and run this again")
        return [found[sample] for sample in self._samples]
