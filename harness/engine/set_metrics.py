"""Metrics over a set, under every condition of a run, from the tallies of its samples.

Accuracy, mIoU or a correlation are not means of scores. A run keeps the tally of every answer, and
the problem computes the metrics of a set from them: untouched, with modalities missing, corrupted,
and attacked up to a strength. This module also computes the influence of each sample, for intervals
and gates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from harness.analysis.curves import arrow_of, query
from harness.analysis.jackknife import interval, pseudo_values
from harness.engine.tallies import Tallies, numbered
from harness.run.directory import RunDirectory
from harness.run.schema import INFLUENCES
from harness.run.set_metrics import ATTACKED, CLEAN, SetMetric
from harness.tasks import Task

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
COLUMNS = {
    "samples": ("model", "sample", "group", "tally"),
    "sweep": ("model", "sample", "kind", "name", "level", "repeat", "tally", "status"),
    "fronts": ("model", "sample", "scenario", "strength", "score", "tally"),
    "ledger": ("model", "sample", "scenario", "threshold", "strength", "score", "tally", "clean_score", "status"),
}
SWEPT = """
    select sample, tally from sweep where status = 'ok' and model = $model and name = $name and level = $level
        and repeat = $repeat and sample in (select sample from own) order by sample
"""
UNDER_ATTACK = """
    with worst as (
        select sample, arg_min(tally, score) as tally, min(score) as score from points
        where model = $model and scenario = $name and strength <= $level group by sample
    )
    select sample, case when worst.score <= clean_score then worst.tally else own.tally end as tally
    from ledger join own using (sample) left join worst using (sample)
    where ledger.status = 'ok' and ledger.model = $model and scenario = $name order by sample
"""
"""The worst answer that is known up to a strength, or the untouched one."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Condition:
    """The condition of the samples of one model; see `SetMetric`."""

    model: str
    kind: str
    name: str
    level: float
    repeats: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Tallied:
    """Samples in the order of their ids, and their tallies (N, T)."""

    samples: tuple[str, ...]
    tallies: Array


def set_metrics(task: Task, directory: RunDirectory) -> tuple[list[SetMetric], pa.Table]:
    """The metrics of every model and condition of a run, over all samples and over the groups that
    the task reports; of repeats, their mean. A value that is not finite is left out.

    Returns:
        the metrics, and the table of influences, those over all samples.

    Raises:
        BadInput: tallies differ in length, or long ones are lost.
    """
    described = directory.describe()
    tables = {name: directory.table(name, columns) for name, columns in COLUMNS.items() if name != "ledger"}
    tables["ledger"] = directory.ledger(COLUMNS["ledger"])
    tables, tallies = numbered(directory, tables)
    tables["points"] = tables.pop("fronts") if described.threshold is not None else tables["ledger"]
    found: list[SetMetric] = []
    rows = [INFLUENCES.empty_table()]
    for condition in _conditions(directory, tables):
        for group in ("", *task.report_groups):
            read = partial(_read, tallies)
            repeats = [each for each in map(read, _chosen(condition, group, tables)) if each.samples]
            values = _influences(task, repeats)
            found += _measured(task, condition, group, repeats, values)
            rows += [] if group else [_rows(described.run, condition, name, *each) for name, each in values.items()]
    return found, pa.concat_tables(rows).unify_dictionaries()


def _conditions(directory: RunDirectory, tables: Mapping[str, pa.Table]) -> Iterator[Condition]:
    described = directory.describe()
    for (model,) in query("select distinct model from samples order by all", samples=tables["samples"]):
        yield Condition(model, CLEAN, "", 0.0)
    swept = """
        select model, kind, name, level, list(distinct repeat order by repeat) from sweep
        where status = 'ok' group by all order by all
    """
    for model, kind, name, level, repeats in query(swept, sweep=tables["sweep"]):
        yield Condition(model, kind, name, level, tuple(repeats))
    attacked = "select distinct model, scenario from ledger where status = 'ok' order by all"
    strengths = [each for each in STRENGTHS if each <= described.identity.config.limit] if described.attacked else []
    for model, scenario in query(attacked, ledger=tables["ledger"]):
        if scenario in described.identity.scenarios:
            yield from (Condition(model, ATTACKED, scenario, strength) for strength in strengths)


def _chosen(condition: Condition, group: str, tables: Mapping[str, pa.Table]) -> Iterator[pa.Table]:
    """The samples of each repeat, and the numbers of their tallies."""
    own = """
        select sample, tally from samples
        where model = $model and ($group = '' or "group" = $group) order by sample
    """
    about: dict[str, Any] = {"model": condition.model}
    samples = arrow_of(own, {**about, "group": group}, samples=tables["samples"])
    about |= {"name": condition.name, "level": condition.level}
    if condition.kind == CLEAN:
        yield samples
    elif condition.kind == ATTACKED:
        yield arrow_of(UNDER_ATTACK, about, own=samples, ledger=tables["ledger"], points=tables["points"])
    for repeat in condition.repeats:
        yield arrow_of(SWEPT, {**about, "repeat": repeat}, own=samples, sweep=tables["sweep"])


def _read(tallies: Tallies, rows: pa.Table) -> Tallied:
    return Tallied(tuple(rows.column("sample").to_pylist()), tallies(rows.column("tally").to_numpy()))


def _metrics(task: Task, tallies: Array) -> Mapping[str, float]:
    return task.problem.metrics(torch.from_numpy(tallies))


def _thin(task: Task, tallies: Array) -> set[str]:
    """The metrics that too few samples decide, if the problem names them by its method `thin`."""
    found = getattr(task.problem, "thin", None)
    return set() if found is None else found(torch.from_numpy(tallies))


def _influences(task: Task, repeats: Sequence[Tallied]) -> dict[str, tuple[Sequence[str], Array]]:
    """For each metric, the samples and their pseudo-values, averaged over repeats; nothing where
    repeats have different samples.
    """
    if not repeats or any(each.samples != repeats[0].samples for each in repeats):
        return {}
    several = [pseudo_values(partial(_metrics, task), each.tallies) for each in repeats]
    thin: set[str] = set().union(*(_thin(task, each.tallies) for each in repeats))
    names = [name for name in several[0] if name not in thin and all(name in each for each in several)]
    return {name: (repeats[0].samples, np.mean([each[name] for each in several], axis=0)) for name in names}


def _measured(
    task: Task,
    condition: Condition,
    group: str,
    repeats: Sequence[Tallied],
    influences: Mapping[str, tuple[Sequence[str], Array]],
) -> Iterator[SetMetric]:
    several = [_metrics(task, each.tallies) for each in repeats]
    where = {"model": condition.model, "kind": condition.kind, "name": condition.name, "level": condition.level}
    for name in several[0] if several else ():
        value = float(np.mean([each.get(name, np.nan) for each in several]))
        low, high = (interval(influences[name][1]) if name in influences else None) or (None, None)
        if np.isfinite(value):
            count = min(len(each.samples) for each in repeats)
            yield SetMetric(**where, metric=name, group=group, value=value, low=low, high=high, samples=count)


def _rows(run: str, condition: Condition, metric: str, samples: Sequence[str], values: Array) -> pa.Table:
    one = {"run": run, "model": condition.model, "kind": condition.kind, "name": condition.name, "metric": metric}
    same, each = np.zeros(len(samples), np.int32), np.arange(len(samples), dtype=np.int32)
    columns = {name: pa.DictionaryArray.from_arrays(same, [text]) for name, text in one.items()}
    columns["sample"] = pa.DictionaryArray.from_arrays(each, pa.array(samples))
    columns |= {"level": pa.repeat(condition.level, len(samples)), "value": pa.array(values)}
    return pa.table([columns[name] for name in INFLUENCES.names], schema=INFLUENCES)
