"""The evidence of gates: the tables of a run, or of a baseline that was frozen from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attacks.errors import BadInput, unknown
from harness.run.description import Description, SavedConfig
from harness.run.directory import RunDirectory
from harness.run.flags import Trust, flagged
from harness.run.schema import CERTIFICATES, SCHEDULE
from harness.run.set_metrics import ATTACKED

Array = np.ndarray[Any, np.dtype[np.float64]]
Values = tuple[pa.Array, Array]
"""A number of each of some samples: their ids, sorted, and the numbers, (N,)."""

KEPT = {
    "samples": ("task", "model", "sample", "hash", "score"),
    "ledger": ("model", "sample", "scenario", "threshold", "strength", "status"),
    "fronts": ("model", "sample", "scenario", "strength", "score"),
    "sweep": ("model", "sample", "kind", "name", "level", "present", "score", "status"),
    "influences": ("model", "kind", "name", "level", "metric", "sample", "value"),
}
"""The columns that gates read, and that a baseline keeps."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The tables of one run, by `where` it was read from.

    Attributes:
        description: the content of `run.json`; a baseline has only the run's id, status, modalities
            and identity.
        tables: those of `KEPT`.
        trust: the flags, per model and scenario.
    """

    where: str
    description: Description
    tables: Mapping[str, pa.Table]
    trust: Trust

    @staticmethod
    def of_run(directory: RunDirectory) -> Evidence:
        """The evidence that a run holds.

        Raises:
            BadInput: there is no run, or it is damaged.
        """
        description = directory.describe()
        besides = {"ledger": CERTIFICATES[:2]} if description.identity.config.certify else {}
        tables = {name: directory.table(name, (*columns, *besides.get(name, ()))) for name, columns in KEPT.items()}
        # a scenario that was not checked has no flags; a baseline holds raised ones alone
        flags = directory.notes.trust()
        checked = {
            model: {name: each for name, each in scenarios.items() if each} for model, scenarios in flags.items()
        }
        return Evidence(f"run {directory.url}", description, tables, checked)

    @property
    def models(self) -> list[str]:
        """The models of the run, those that crashed among them."""
        return list(self.description.identity.weights)

    @property
    def modalities(self) -> list[str]:
        return self.description.modalities

    @property
    def config(self) -> SavedConfig:
        """The part of the configuration that decides the results."""
        return self.description.identity.config

    @property
    def attacked(self) -> bool:
        """Whether the run looked for failures at all."""
        return self.description.attacked

    @property
    def limit(self) -> float:
        """The largest strength searched."""
        return self.config.limit

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The hash of each sample."""
        table = self.tables["samples"]
        return dict(zip(table.column("sample").to_pylist(), table.column("hash").to_pylist(), strict=True))

    @cached_property
    def expected(self) -> frozenset[str]:
        """Every sample that any model has answered."""
        columns = [chunk for name in ("samples", "ledger") for chunk in self.tables[name].column("sample").chunks]
        return frozenset(pa.chunked_array(columns, pa.string()).unique().to_pylist())

    @cached_property
    def tasks(self) -> frozenset[str]:
        """The names of the task: in the configuration, and in the rows."""
        return frozenset({self.config.task, *self.tables["samples"].column("task").unique().to_pylist()})

    @cached_property
    def doubted(self) -> frozenset[tuple[str, str]]:
        """The (scenario, model) pairs whose number may be wrong."""
        return flagged(self.trust)

    @cached_property
    def scenarios(self) -> list[str]:
        return [str(each) for each in self.tables["ledger"].column("scenario").unique().to_pylist()]

    @cached_property
    def levels(self) -> dict[str, list[float]]:
        """Per schedule or corruption, the levels it was run at."""
        pairs = self.tables["sweep"].group_by(["name", "level"], use_threads=False).aggregate([])
        found: dict[str, list[float]] = {}
        names, levels = pairs.column("name").to_pylist(), pairs.column("level").to_pylist()
        for name, level in sorted(zip(names, levels, strict=True)):
            found.setdefault(name, []).append(level)
        return found

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of each name in the sweep: schedule or corruption."""
        pairs = self.tables["sweep"].group_by(["name", "kind"], use_threads=False).aggregate([])
        return dict(zip(pairs.column("name").to_pylist(), pairs.column("kind").to_pylist(), strict=True))

    @property
    def schedules(self) -> list[str]:
        """The schedules in the sweep."""
        return [name for name in self.levels if self.kinds[name] == SCHEDULE]

    def clean(self, model: str) -> Values:
        """The score of each sample, untouched."""
        return _by_sample(self._rows("samples", ("sample", "score"), model=model), "score")

    @property
    def thresholds(self) -> list[float]:
        """The shares of the untouched score at which samples with graded answers fail."""
        return self.description.identity.thresholds

    def strengths(self, model: str, scenario: str, threshold: float | None = None) -> Values:
        """The critical strength of each sample, of graded answers at a threshold, by default the
        first; rows with errors are left out.
        """
        threshold = self.description.threshold if threshold is None else threshold
        chosen = {} if threshold is None else {"threshold": threshold}
        rows = self._rows("ledger", ("sample", "strength"), model=model, scenario=scenario, status="ok", **chosen)
        return _by_sample(rows, "strength")

    def certified(self, model: str, scenario: str, strength: float) -> Values:
        """Whether each sample provably withstands attacks up to a strength. Samples that were not
        to be certified are left out.
        """
        rows = self._rows("ledger", ("sample", *CERTIFICATES[:2]), model=model, scenario=scenario, status="ok")
        rows = rows.filter(pc.is_valid(rows.column("certifier")))
        filled = rows.set_column(1, "certified", pc.fill_null(rows.column("certified"), 0.0))
        samples, strengths = _by_sample(filled, "certified")
        return samples, (strengths > strength).astype(float)

    def withstood(self, model: str, scenario: str, strength: float, threshold: float | None = None) -> Values:
        """The remaining score of each sample under attacks up to a strength: all or nothing, or for
        graded answers without a threshold the lowest score that is known.
        """
        samples, strengths = self.strengths(model, scenario, threshold)
        if self.description.threshold is None or threshold is not None:
            return samples, (strengths > strength).astype(float)
        rows = self._rows("fronts", ("sample", "strength", "score"), model=model, scenario=scenario)
        reached = rows.filter(pc.less_equal(rows.column("strength"), strength))
        lowest = reached.group_by("sample", use_threads=False).aggregate([("score", "min")])
        known = dict(zip(lowest.column("sample").to_pylist(), lowest.column("score_min").to_pylist(), strict=True))
        clean = dict(zip(*(each.tolist() for each in self.clean(model)), strict=True))
        left = [min(known.get(sample, clean[sample]), clean[sample]) for sample in samples.to_pylist()]
        return samples, np.array(left, np.float64)

    def metric(self, model: str, name: str, kind: str, place: str, level: float) -> Values:
        """A metric over the set, as one number for each sample; their mean is the metric."""
        condition = {"model": model, "metric": name, "kind": kind, "name": place, "level": level}
        return _by_sample(self._rows("influences", ("sample", "value"), **condition), "value")

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics over the set for which gates have the influence of each sample."""
        return [str(each) for each in self.tables["influences"].column("metric").unique().to_pylist()]

    @cached_property
    def metric_strengths(self) -> list[float]:
        """The strengths of attacks at which there are metrics."""
        rows = self._rows("influences", ("level",), kind=ATTACKED)
        return sorted(rows.column("level").unique().to_pylist())

    def sweep(self, model: str, schedule: str, level: float | None = None) -> pa.Table:
        """The rows of a schedule or corruption, at one level or at all."""
        wanted = {} if level is None else {"level": level}
        return self._rows("sweep", KEPT["sweep"], model=model, name=schedule, status="ok", **wanted)

    def at(self, model: str, schedule: str, level: float) -> Values:
        """The score of each sample at a level, its repeats averaged."""
        rows = self.sweep(model, schedule, level).group_by("sample", use_threads=False).aggregate([("score", "mean")])
        return _by_sample(rows, "score_mean")

    def errors(self, model: str, table: str = "ledger", **condition: Any) -> set[str]:
        """The samples of a model that are errors under a condition (in all, where none is
        named).
        """
        rows = self._rows(table, ("sample", "status"), model=model, **condition)
        return self._with_status(rows, "error")

    def left_out(self, model: str, scenario: str) -> set[str]:
        """The samples that came without a modality that a scenario attacks."""
        rows = self._rows("ledger", ("sample", "status"), model=model, scenario=scenario)
        return self._with_status(rows, "skipped")

    @staticmethod
    def _with_status(rows: pa.Table, status: str) -> set[str]:
        return set(rows.filter(pc.equal(rows.column("status"), status)).column("sample").to_pylist())

    def _rows(self, table: str, columns: Sequence[str], **wanted: Any) -> pa.Table:
        rows = self.tables[table]
        # an expression would start Arrow's threads
        masks = [pc.equal(rows.column(name), value) for name, value in wanted.items()]
        return rows.select(list(columns)).filter(reduce(pc.and_, masks))


def _by_sample(rows: pa.Table, column: str) -> Values:
    samples = rows.column("sample").cast(pa.string()).combine_chunks()
    order = pc.array_sort_indices(samples)
    return samples.take(order), rows.column(column).combine_chunks().take(order).to_numpy(False)


def known(kind: str, name: str, there: Sequence[str], evidence: Evidence) -> None:
    """Refuse a name that the run does not have.

    Raises:
        BadInput: with the close matches.
    """
    if name not in there:
        raise unknown(kind, name, there, where=f" in {evidence.where}")


def refuse_other_data(ours: Evidence, theirs: Evidence) -> None:
    """Two runs are compared on the same samples, which have to be the same data.

    Raises:
        BadInput: a sample has other inputs or another target, the tasks differ, or no sample is in
            both.
    """
    if not ours.expected or not theirs.expected:
        return
    both = sorted(ours.hashes.keys() & theirs.hashes.keys())
    if not ours.expected & theirs.expected:
        raise BadInput(
            f"{ours.where} and {theirs.where} have no sample in common: evaluate with the same --seed, or bless a new"
            " baseline"
        )
    changed = next((sample for sample in both if ours.hashes[sample] != theirs.hashes[sample]), None)
    if changed is not None:
        raise BadInput(
            f"sample {changed!r} has different data in {ours.where} and in {theirs.where}: bless a new baseline"
        )
    if ours.description.identity.task_definition != theirs.description.identity.task_definition:
        raise BadInput(
            f"the tasks of {ours.where} and {theirs.where} have different definitions (samples, ranges, masks or"
            " scoring): bless a new baseline"
        )


def columns(found: Sequence[Values]) -> tuple[list[str], Array]:
    """The samples that all have, sorted, and their values (N, K)."""
    if not found:
        return [], np.empty((0, 0))
    samples = found[0][0]
    for each, _ in found[1:]:
        samples = samples if each.equals(samples) else samples.filter(pc.is_in(samples, value_set=each))
    kept = [
        values if each.equals(samples) else values[pc.is_in(each, value_set=samples).to_numpy(False)]
        for each, values in found
    ]
    return samples.to_pylist(), np.stack(kept, 1)
