"""The field's numbers over a set, under every condition of a run: from the tallies of its samples.

Accuracy, mIoU or a correlation are no means of scores. A run keeps the tally of every answer, and
the problem makes the numbers of a set of them: untouched, with modalities missing, corrupted, and
attacked up to a strength.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from attacks.randomness import keyed_seed
from harness.analysis.curves import query
from harness.run.directory import RunDirectory
from harness.run.set_metrics import ATTACKED, CLEAN, SetMetric
from harness.tasks import Task

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
RESAMPLED = 200  # times, for an interval
ENOUGH = 20  # samples; fewer have no interval
LEVELS = (0.025, 0.975)

Tallies = list[tuple[str, list[float]]]
"""Samples and their tallies."""


@dataclass(frozen=True)
class _Condition:
    model: str
    kind: str
    name: str
    level: float


def set_metrics(task: Task, directory: RunDirectory) -> list[SetMetric]:
    """The metrics of every model and condition of a run, over all samples and over the groups that
    the task reports; of repeats, their mean.
    """
    split = task.splits["test"]
    groups = dict(zip(split.samples, split.groups, strict=True))

    def measured(tallies: Tallies) -> dict[str, float]:
        return task.problem.metrics(torch.tensor([tally for _, tally in tallies], dtype=torch.float64))

    found = []
    for condition, repeats in _conditions(directory):
        found += _judged(measured, condition, "", repeats)
        for group in task.report_groups:
            own = [[pair for pair in each if groups[pair[0]] == group] for each in repeats]
            found += _judged(measured, condition, group, own) if all(own) else []
    return found


def _judged(
    measured: Callable[[Tallies], dict[str, float]], condition: _Condition, group: str, repeats: Sequence[Tallies]
) -> list[SetMetric]:
    values = _mean([measured(each) for each in repeats])
    samples = sorted({sample for each in repeats for sample, _ in each})
    drawn = [_mean([measured(each) for each in again]) for again in _resampled(repeats, samples)]
    found = []
    for name, value in values.items():
        others = [each[name] for each in drawn if name in each]
        low, high = np.quantile(others, LEVELS).tolist() if others else (None, None)
        where = {"model": condition.model, "kind": condition.kind, "name": condition.name, "level": condition.level}
        about = {"metric": name, "group": group, "samples": len(samples)}
        found.append(SetMetric.model_validate({**where, **about, "value": value, "low": low, "high": high}))
    return found


def _mean(several: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Metric by metric; one that a repeat lacks is left out."""
    return {
        name: float(np.mean([each[name] for each in several])) for name in several[0] if all(name in s for s in several)
    }


def _resampled(repeats: Sequence[Tallies], samples: Sequence[str]) -> Iterator[list[Tallies]]:
    """The samples drawn anew, alike for every model and condition that has them."""
    if len(samples) < ENOUGH:
        return
    draws = np.random.Generator(np.random.PCG64(keyed_seed("set metrics", *samples)))
    held = [dict(each) for each in repeats]
    for _ in range(RESAMPLED):
        chosen = [samples[row] for row in draws.integers(len(samples), size=len(samples))]
        yield [[(sample, own[sample]) for sample in chosen if sample in own] for own in held]


def _conditions(directory: RunDirectory) -> Iterator[tuple[_Condition, list[Tallies]]]:
    samples = directory.table("samples", ("model", "sample", "tally"))
    for model, tallies in _by_key(samples, "model").items():
        yield _Condition(model[0], CLEAN, "", 0.0), [tallies]
    yield from _swept(
        directory.table("sweep", ("model", "sample", "kind", "name", "level", "repeat", "tally", "status"))
    )
    yield from _attacked(directory, samples)


def _by_key(table: pa.Table, columns: str) -> dict[tuple[str, ...], Tallies]:
    found: dict[tuple[str, ...], Tallies] = {}
    for *key, sample, tally in query(f"select {columns}, sample, tally from t order by all", t=table):
        found.setdefault(tuple(key), []).append((sample, tally))
    return found


def _swept(sweep: pa.Table) -> Iterator[tuple[_Condition, list[Tallies]]]:
    right = sweep.filter(pc.equal(sweep.column("status"), "ok"))
    whole: dict[_Condition, list[Tallies]] = {}
    for (model, kind, name, level, _), tallies in _by_key(right, "model, kind, name, level, repeat").items():
        whole.setdefault(_Condition(model, kind, name, float(level)), []).append(tallies)
    yield from whole.items()


def _attacked(directory: RunDirectory, samples: pa.Table) -> Iterator[tuple[_Condition, list[Tallies]]]:
    """At each strength, the worst answer that is known up to it, or the untouched one."""
    description = directory.describe()
    if not description.attacked:
        return
    columns = ("model", "sample", "scenario", "strength", "score", "tally", "clean_score", "status")
    ledger = directory.ledger(columns)
    fronts = directory.table("fronts", ("model", "sample", "scenario", "strength", "score", "tally"))
    points = fronts if description.threshold is not None else ledger.select(fronts.column_names)
    asked = set(description.identity.scenarios)
    for strength in [each for each in STRENGTHS if each <= description.identity.config.limit]:
        rows = query(
            """
            with worst as (
                select model, scenario, sample, arg_min(tally, score) as tally, min(score) as score
                from points where strength <= $strength group by all
            )
            select ledger.model, ledger.scenario, ledger.sample,
                   case when worst.score <= clean_score then worst.tally else samples.tally end
            from ledger join samples on samples.model = ledger.model and samples.sample = ledger.sample
            left join worst on worst.model = ledger.model and worst.scenario = ledger.scenario
                and worst.sample = ledger.sample
            where ledger.status = 'ok' order by ledger.model, ledger.scenario, ledger.sample
            """,
            {"strength": strength},
            ledger=ledger,
            samples=samples,
            points=points,
        )
        found: dict[_Condition, Tallies] = {}
        for model, scenario, sample, tally in rows:
            if scenario in asked:
                found.setdefault(_Condition(model, ATTACKED, scenario, strength), []).append((sample, tally))
        yield from ((condition, [tallies]) for condition, tallies in found.items())
