"""The field's numbers over a set, under every condition of a run, from the tallies of its samples.

Accuracy, mIoU or a correlation are not means of scores. A run keeps the tally of every answer, and
the problem makes the numbers of a set from them: untouched, with modalities missing, corrupted, and
attacked up to a strength.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from attacks.errors import BadInput
from attacks.randomness import keyed_seed
from harness.analysis.curves import arrow_of, query
from harness.run.directory import RunDirectory
from harness.run.set_metrics import ATTACKED, CLEAN, ENOUGH, SetMetric, in_tables
from harness.tasks import Task

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
RESAMPLED, MOST = 200, 5_000  # times, for an interval; samples, beyond which that takes too long
ENDS = (0.025, 0.975)
COLUMNS = {
    "samples": ("model", "sample", "group", "tally"),
    "sweep": ("model", "sample", "kind", "name", "level", "repeat", "tally", "status"),
    "fronts": ("model", "sample", "scenario", "strength", "score", "tally"),
    "ledger": ("model", "sample", "scenario", "strength", "score", "tally", "clean_score", "status"),
}
SWEPT = """
    select tally from sweep where status = 'ok' and model = $model and name = $name and level = $level
        and repeat = $repeat and sample in (select sample from own) order by sample
"""
UNDER_ATTACK = """
    with worst as (
        select sample, arg_min(tally, score) as tally, min(score) as score from points
        where model = $model and scenario = $name and strength <= $level group by sample
    )
    select case when worst.score <= clean_score then worst.tally else own.tally end as tally
    from ledger join own using (sample) left join worst using (sample)
    where ledger.status = 'ok' and ledger.model = $model and scenario = $name order by sample
"""
"""The worst answer that is known up to a strength, or the untouched one."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Condition:
    """What happened to the samples of one model; see `SetMetric`."""

    model: str
    kind: str
    name: str
    level: float
    repeats: tuple[int, ...] = ()


def set_metrics(task: Task, directory: RunDirectory) -> list[SetMetric]:
    """The metrics of every model and condition of a run, over all samples and over the groups that
    the task reports; of repeats, their mean. A value that is not finite is left out.
    """
    tables = {name: directory.table(name, columns) for name, columns in COLUMNS.items() if name != "ledger"}
    tables["ledger"] = directory.ledger(COLUMNS["ledger"])
    graded = directory.describe().threshold is not None
    tables["points"] = tables.pop("fronts") if graded else tables["ledger"]
    found = []
    for condition in _conditions(directory, tables):
        for group in ("", *task.report_groups):
            tallies = [each for each in _tallies(condition, group, tables) if len(each)]
            found += _measured(task, condition, group, tallies) if tallies else []
    return found


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


def _tallies(condition: Condition, group: str, tables: Mapping[str, pa.Table]) -> Iterator[Array]:
    """The tallies (N, T) of each repeat, in the order of the samples' ids."""
    own = """
        select sample, tally from samples
        where model = $model and ($group = '' or "group" = $group) order by sample
    """
    about: dict[str, Any] = {"model": condition.model}
    samples = arrow_of(own, {**about, "group": group}, samples=tables["samples"])
    about |= {"name": condition.name, "level": condition.level}
    if condition.kind == CLEAN:
        yield _array(samples)
    elif condition.kind == ATTACKED:
        yield _array(arrow_of(UNDER_ATTACK, about, own=samples, ledger=tables["ledger"], points=tables["points"]))
    for repeat in condition.repeats:
        yield _array(arrow_of(SWEPT, {**about, "repeat": repeat}, own=samples, sweep=tables["sweep"]))


def _array(rows: pa.Table) -> Array:
    lists = rows.column("tally").combine_chunks()
    if len(lengths := lists.value_lengths().unique()) > 1:
        few, many = sorted(lengths.to_pylist())[:2]
        raise BadInput(f"the problem's tallies have {few} numbers and {many}: give the same number for every sample")
    flat: Array = lists.flatten().to_numpy(zero_copy_only=False).copy()  # Arrow's own memory cannot be written to
    return flat.reshape(len(lists), -1) if len(lists) else flat.reshape(0, 0)


def _measured(task: Task, condition: Condition, group: str, tallies: Sequence[Array]) -> list[SetMetric]:
    values = _mean([task.problem.metrics(torch.from_numpy(each)) for each in tallies])
    count, shown = min(map(len, tallies)), in_tables(condition.kind, condition.level)
    drawn = list(_resampled(task, tallies)) if shown and ENOUGH <= count <= MOST else []
    found = []
    for name, value in values.items():
        others = [each[name] for each in drawn if np.isfinite(each.get(name, np.nan))]
        low, high = np.quantile(others, ENDS).tolist() if others else (None, None)
        if np.isfinite(value):
            where = (condition.model, condition.kind, condition.name, condition.level)
            numbers = {"metric": name, "group": group, "value": value, "low": low, "high": high, "samples": count}
            found.append(SetMetric(**dict(zip(("model", "kind", "name", "level"), where, strict=True)), **numbers))
    return found


def _mean(several: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Metric by metric; one that a repeat lacks is left out."""
    names = [name for name in several[0] if all(name in each for each in several)]
    return {name: float(np.mean([each[name] for each in several])) for name in names}


def _resampled(task: Task, tallies: Sequence[Array]) -> Iterator[dict[str, float]]:
    """The metrics of samples drawn anew: the same draws for all models and conditions."""
    draws = np.random.Generator(np.random.PCG64(keyed_seed("set metrics", str(len(tallies[0])))))
    for _ in range(RESAMPLED):
        shares = draws.random(len(tallies[0]))
        again = [each[(shares * len(each)).astype(int)] for each in tallies]
        yield _mean([task.problem.metrics(torch.from_numpy(each)) for each in again])
