"""What the trials of a setting found: scores and critical strengths, seed by seed and sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from attacks.errors import BadInput
from harness.curves import query
from harness.environment import choose_device
from harness.loading import load_model
from harness.measures import Array, contributions
from harness.models import checkpoint
from harness.reproduce.campaign import Trial
from harness.reproduce.study import Setting
from harness.tasks import Task

CLEAN = "clean"
AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Results:
    """Of one setting: arrays (seeds, samples), the same samples in the same order for every system."""

    setting: Setting
    task: Task
    trials: Sequence[Trial]
    _whole: dict[str, Array] = field(default_factory=dict, init=False)

    def scores(self, system: str, condition: str = CLEAN) -> Array:
        """Scores with everything present, or with ``missing NAME``; of a scenario, 1 where strength 1 is withstood."""
        if condition == CLEAN:
            return self._stacked(system, "samples", "score", "true")
        if condition.startswith("missing "):
            name = condition.removeprefix("missing ")
            return self._stacked(system, "sweep", "score", f"schedule = 'fixed({name})' and level = 1 and repeat = 0")
        return (self.strengths(system, condition) > 1).astype(float)

    def whole(self, system: str) -> Array:
        """Scores of every sample of the test split, (seeds, samples), in the split's order: asked of the checkpoints, untouched."""
        if system not in self._whole:
            self._whole[system] = np.stack([self._asked(trial) for trial in self._of(system)])
        return self._whole[system]

    def _asked(self, trial: Trial) -> Array:
        device = choose_device("auto")
        module, split = load_model(str(trial.checkpoint), self.task, device).module, self.task.splits["test"]
        parts = [split.take(rows).to(device) for rows in torch.arange(len(split)).split(AT_ONCE)]
        with torch.no_grad():
            scores = torch.cat([self.task.problem.score(module(part.inputs, None), part.targets) for part in parts])
        asked: Array = scores.double().cpu().numpy()
        return asked

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
