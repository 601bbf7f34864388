"""The results of the trials of a setting: scores and critical strengths by seed and sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from attacks.errors import BadInput
from harness.analysis.curves import query
from harness.analysis.measures import Array, contributions
from harness.reproduce.campaign import Trial
from harness.reproduce.cost import Cost
from harness.reproduce.record import SPLIT, Record, read_record
from harness.reproduce.setting import Effort, Setting
from harness.run.schema import SCHEDULE
from harness.run.set_metrics import ATTACKED, CLEAN
from harness.tasks import Task

MISSING = "missing "


@dataclass(frozen=True, eq=False)
class Results:
    """The results of one setting: arrays (seeds, samples), with the same samples in the same order
    for every system.
    """

    setting: Setting
    task: Task
    trials: Sequence[Trial]
    _records: dict[Path, Record] = field(default_factory=dict, init=False)

    @property
    def effort(self) -> Effort:
        """The effort of the trials."""
        return self.trials[0].effort

    @property
    def seeds(self) -> str:
        """The number of seeds, in words."""
        here, planned = len({trial.seed for trial in self.trials}), len(self.effort.seeds)
        return (
            f"{here} seed{'s' * (here > 1)}"
            if here == planned
            else f"**{here} of {planned} seeds: the others are not done**"
        )

    @property
    def made_with(self) -> tuple[set[str], set[str]]:
        """The versions of torch and the devices."""
        records = [self._record(trial) for trial in self.trials]
        return {record.card["versions"]["torch"] for record in records}, {record.device for record in records}

    @property
    def searches(self) -> set[int]:
        """The versions of the search that found strengths."""
        return {self._record(trial).search for trial in self.trials if trial.system.attacked}

    def scores(self, system: str, condition: str = CLEAN) -> Array:
        """Scores with everything present, or with ``missing NAME``; of a scenario, 1 where strength
        1 is withstood.
        """
        if condition == CLEAN:
            return self._stacked(system, "samples", "score", "true")
        if condition.startswith(MISSING):
            name = condition.removeprefix(MISSING)
            return self._stacked(system, "sweep", "score", f"name = 'fixed({name})' and level = 1 and repeat = 0")
        return self.withstood(system, condition)

    def withstood(self, system: str, scenario: str, strength: float = 1.0) -> Array:
        """1 where a strength is withstood, else 0."""
        return (self.strengths(system, scenario) > strength).astype(float)

    def whole(self, system: str) -> Array:
        """Scores of every sample of the test split, (seeds, samples), in the split's order,
        untouched.
        """
        return np.stack([self._record(trial).tables[SPLIT].column("score").to_numpy() for trial in self._of(system)])

    def measured(self, system: str, condition: str = CLEAN) -> Array:
        """The setting's metric, (seeds, samples), as the influences of samples on it, whose mean is
        the metric: untouched, with ``missing NAME``, or under a scenario at strength 1.
        """
        kind, name = ATTACKED, condition
        if condition == CLEAN:
            kind, name = CLEAN, ""
        elif condition.startswith(MISSING):
            kind, name = SCHEDULE, f"fixed({condition.removeprefix(MISSING)})"
        level = float(kind != CLEAN)
        return self._stacked(system, "influences", "value", f"kind = '{kind}' and name = '{name}' and level = {level}")

    def strengths(self, system: str, scenario: str) -> Array:
        """Critical strengths, upper bounds found by attack; inf where none was found up to the
        limit.
        """
        return self._stacked(system, "ledger", "strength", f"scenario = '{scenario}'")

    def shapley(self, system: str) -> dict[str, float]:
        """Each modality's contribution to the score, the mean over seeds."""
        sweeps = [self._record(trial).tables["sweep"] for trial in self._of(system)]
        named = [sweep.append_column("model", pa.array([system] * len(sweep), pa.string())) for sweep in sweeps]
        values = [contributions(sweep, self.task.names)[system] for sweep in named]
        return {name: float(np.mean([each[name].value for each in values])) for name in self.task.names}

    def seconds(self, system: str) -> float:
        """The seconds of training, mean over seeds."""
        return float(np.mean([card["seconds"] for card in self._cards(system)]))

    def metric(self, system: str, name: str) -> Array:
        """A metric of the whole test split, one per seed."""
        return np.array([card["metrics"][f"test_{name}"] for card in self._cards(system)])

    def metrics(self, system: str, start: str) -> list[str]:
        """The metrics of a system whose names begin so, in order."""
        held = self._cards(system)[0]["metrics"]
        return [name.removeprefix("test_") for name in held if name.startswith(f"test_{start}")]

    def knows(self, system: str, name: str) -> bool:
        """Whether its trials have such a metric."""
        return all(f"test_{name}" in card["metrics"] for card in self._cards(system))

    def cost(self, system: str) -> Cost:
        """The cost of a forward pass, as measured in the trial of the first seed."""
        return self._record(self._of(system)[0]).cost

    def _cards(self, system: str) -> list[Mapping[str, Any]]:
        return [self._record(trial).card for trial in self._of(system)]

    def _record(self, trial: Trial) -> Record:
        if trial.record not in self._records:
            self._records[trial.record] = read_record(trial.record)
        return self._records[trial.record]

    def _of(self, system: str) -> list[Trial]:
        return [trial for trial in self.trials if trial.row == system]

    @cached_property
    def _samples(self) -> list[str]:
        return sorted(self._record(self.trials[0]).tables["samples"].column("sample").to_pylist())

    def _stacked(self, system: str, table: str, column: str, where: str) -> Array:
        rows = [self._row(trial, table, column, where) for trial in self._of(system)]
        return np.array(rows, dtype=float)

    def _row(self, trial: Trial, table: str, column: str, where: str) -> list[float]:
        found = dict(query(f"select sample, {column} from rows where {where}", rows=self._record(trial).tables[table]))
        if missing := [sample for sample in self._samples if sample not in found]:
            raise BadInput(
                f"record {trial.record} lacks {len(missing)} samples where {where}: remove that file and run the"
                " same command"
            )
        return [found[sample] for sample in self._samples]
