"""Curves: queries on the ledger and the sweep, each point with its interval."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from threading import local
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from harness.analysis.intervals import Estimate, Interval, proportion
from harness.run.schema import CERTIFICATES

IS_GAP = "(name = 'gap' or starts_with(name, 'gap('))"
FRACTION_MISSING = f"(case when {IS_GAP} then level else 1 - length(replace(present, '0', '')) / length(present) end)"
"""The rate of a row of the sweep; a gap leaves every modality present and stands at its level."""
BOUNDED = {"memory_limit": "400MB", "threads": 2}  # of a query: each thread wants its share
OPENED = local()  # the database of each thread: to make one takes ten times as long as a small query
AT_ONCE = 10_000  # rows


@dataclass(frozen=True)
class Share:
    """A mean score over samples, yes or no or graded, with its 95 % interval."""

    value: float
    samples: int

    @property
    def interval(self) -> Interval:
        return proportion(self.value, self.samples)

    def __str__(self) -> str:
        return str(Estimate.of(self.value, self.interval))


@dataclass(frozen=True)
class Band(Share):
    """An attacked share, which the true one does not exceed, beside a certified one, which it does
    not fall below.
    """

    certified: Share

    @property
    def outer(self) -> Interval:
        """From the low end of the certified share's interval to the high end of the attacked
        one's.
        """
        return self.certified.interval[0], self.interval[1]

    def __str__(self) -> str:
        low, high = self.outer
        return f"{self.certified.value:.3f} … {self.value:.3f} [{low:.2f}, {high:.2f}]"


@dataclass(frozen=True)
class Point:
    """One point of a curve: strength or fraction missing, and the score there.

    Attributes:
        certified: the share that provably withstands the strength, where certificates were asked
            for.
    """

    at: float
    share: Share
    certified: Share | None = None

    @property
    def band(self) -> Share:
        """The score, with its certified edge if there is one."""
        return self.share if self.certified is None else Band(self.share.value, self.share.samples, self.certified)


def query(sql: str, given: Mapping[str, Any] | None = None, **tables: pa.Table) -> list[tuple[Any, ...]]:
    """The rows of an SQL query on tables of a run, by name; `$name` in it stands for what is given
    by that name.
    """
    with _answer(sql, given, tables) as answer:
        rows: list[tuple[Any, ...]] = answer.fetchall()
        return rows


def arrow_of(sql: str, given: Mapping[str, Any] | None = None, **tables: pa.Table) -> pa.Table:
    """The same as a table, without a Python object for each row."""
    with _knowing(tables) as connection:
        return connection.sql(sql, params=dict(given or {})).to_arrow_table()


def rows_of(sql: str, **tables: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The same, a few thousand rows in memory at a time."""
    with _answer(sql, None, tables) as answer:
        while rows := answer.fetchmany(AT_ONCE):
            yield from rows


def columns_of(
    sql: str, given: Mapping[str, Any] | None = None, **tables: pa.Table
) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """The columns of an SQL query whose values are all numbers, as arrays; NaN where there is
    none.
    """
    with _answer(sql, given, tables) as answer:
        return [np.ma.filled(np.ma.asarray(column, dtype=float), np.nan) for column in answer.fetchnumpy().values()]


@contextmanager
def _answer(sql: str, given: Mapping[str, Any] | None, tables: Mapping[str, pa.Table]) -> Iterator[Any]:
    with _knowing(tables) as connection:
        yield connection.execute(sql, given)


@contextmanager
def _knowing(tables: Mapping[str, pa.Table]) -> Iterator[duckdb.DuckDBPyConnection]:
    """In bounded memory: the rest is kept on the disk for the time of the query. A cursor knows its
    own tables only.
    """
    with _database().cursor() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        yield connection


def _database() -> duckdb.DuckDBPyConnection:
    if getattr(OPENED, "process", None) != os.getpid():  # a forked process makes its own
        folder = Path(gettempdir()) / f"queries-{uuid.uuid4().hex}"  # DuckDB makes and removes it
        OPENED.database = duckdb.connect(config={**BOUNDED, "temp_directory": str(folder)})
        OPENED.process = os.getpid()
    database: duckdb.DuckDBPyConnection = OPENED.database
    return database


def clean_scores(samples: pa.Table) -> dict[str, Share]:
    """Per model, the mean score on untouched inputs."""
    rows = query("select model, avg(score), count(*) from samples group by model", samples=samples)
    return {model: Share(value, count) for model, value, count in rows}


def complete_scores(samples: pa.Table) -> dict[str, dict[str, Share]]:
    """The same of the samples that came with every modality, and of the others; empty where all
    samples are complete.
    """
    rows = query(
        """
        select case when contains(present, '0') then 'incomplete' else 'complete' end as kind, model, avg(score),
            count(*)
        from samples group by all order by kind
        """,
        samples=samples,
    )
    found: dict[str, dict[str, Share]] = {}
    for kind, model, value, count in rows:
        found.setdefault(f"clean, {kind} samples", {})[model] = Share(value, count)
    return found if len(found) > 1 or "clean, incomplete samples" in found else {}


def absences(samples: pa.Table, modalities: Sequence[str]) -> str:
    """How many samples under test came without each modality, in words; empty where all are
    complete.
    """
    rows = query("select distinct sample, present from samples", samples=samples)
    lost = {name: sum(bits[at] == "0" for _, bits in rows if bits) for at, name in enumerate(modalities)}
    each = ", ".join(f"{count} lack {name}" for name, count in lost.items() if count)
    return (
        f"of {len(rows)} samples {each}, as they came: attacks on what a sample lacks leave it out, and corruptions of"
        " it change nothing"
        if each
        else ""
    )


CURVED = {
    "ledger": ("scenario", "model", "sample", "strength", "limit", "clean_score", "status", *CERTIFICATES),
    "fronts": ("scenario", "model", "sample", "strength", "score"),
}
"""The columns that curves under attack read."""


WITHSTOOD = "the share that withstood every attack tried"
WORST_KNOWN = "the mean of the worst score that is known"


def robust_score_is(graded: bool) -> str:
    """What a robust score is: of graded answers, which have fronts, a mean."""
    return WORST_KNOWN if graded else WITHSTOOD


def robust_curves(
    ledger: pa.Table, strengths: Sequence[float], fronts: pa.Table | None = None
) -> dict[tuple[str, str], list[Point]]:
    """Per (scenario, model), the share of samples whose critical strength exceeds each strength; of
    graded answers, which have `fronts`, the mean of the lowest score that is known up to it.
    """
    if fronts is not None and fronts.num_rows:
        return _worst_curves(ledger, strengths, fronts)
    at = pa.table({"t": list(strengths)})
    rows = query(
        """
        select scenario, model, t, avg(case when strength > t then 1.0 else 0.0 end), count(*)
        from ledger, strengths where status = 'ok' group by all order by t
        """,
        ledger=ledger,
        strengths=at,
    )
    certified = _certified(ledger, at)
    return {
        panel: [replace(point, certified=certified.get((*panel, point.at))) for point in points]
        for panel, points in _curves(rows).items()
    }


def _certified(ledger: pa.Table, at: pa.Table) -> dict[tuple[str, str, float], Share]:
    """Per scenario, model and strength, the share of samples that provably withstand; a sample that
    could not be certified does not. Scenarios without any certificate are left out.
    """
    if not set(CERTIFICATES[:2]) <= {*ledger.column_names} or ledger.column("certified").null_count == len(ledger):
        return {}
    rows = query(
        """
        select scenario, model, t, avg(case when certified > t then 1.0 else 0.0 end), count(*)
        from ledger, strengths where status = 'ok' and certifier is not null
        group by all having count(certified) > 0
        """,
        ledger=ledger,
        strengths=at,
    )
    return {(scenario, model, t): Share(value, count) for scenario, model, t, value, count in rows}


def _worst_curves(ledger: pa.Table, strengths: Sequence[float], fronts: pa.Table) -> dict[tuple[str, str], list[Point]]:
    rows = query(
        """
        with worst as (
            select scenario, model, sample, t, min(score) as score
            from fronts, strengths where strength <= t group by all
        )
        select ledger.scenario, ledger.model, strengths.t,
               avg(least(coalesce(worst.score, clean_score), clean_score)), count(*)
        from ledger cross join strengths left join worst
            on worst.scenario = ledger.scenario and worst.model = ledger.model
            and worst.sample = ledger.sample and worst.t = strengths.t
        where status = 'ok' group by all order by strengths.t
        """,
        ledger=ledger,
        fronts=fronts,
        strengths=pa.table({"t": list(strengths)}),
    )
    return _curves(rows)


def uncertified(ledger: pa.Table) -> list[tuple[str, str, str]]:
    """The scenarios and models of which no sample could be certified, and why."""
    rows = query(
        """
        select scenario, model, min(uncertified_reason) from ledger where certifier is not null
        group by scenario, model having count(certified) = 0 and count(uncertified_reason) > 0 order by all
        """,
        ledger=ledger,
    )
    return [(str(scenario), str(model), str(reason)) for scenario, model, reason in rows]


def missing_curves(sweep: pa.Table) -> dict[tuple[str, str], list[Point]]:
    """Per (schedule, model), the score against the fraction missing that was reached, level by
    level.

    Repeats are averaged within each sample first: they share the sample, and count once.
    Corruptions are left out.
    """
    rows = query(
        f"""
        with averaged as (
            select name, model, level, sample, avg(score) as score, avg({FRACTION_MISSING}) as missing
            from sweep where status = 'ok' and kind = 'schedule' group by all
        )
        select name, model, avg(missing), avg(score), count(*)
        from averaged group by name, model, level order by level
        """,
        sweep=sweep,
    )
    return _curves(rows)


def corruption_curves(sweep: pa.Table) -> dict[tuple[str, str], list[Point]]:
    """Per (corruption, model), the score against the severity; repeats are averaged within each
    sample first.
    """
    rows = query(
        """
        with averaged as (
            select name, model, level, sample, avg(score) as score
            from sweep where status = 'ok' and kind = 'corruption' group by all
        )
        select name, model, level, avg(score), count(*) from averaged group by all order by level
        """,
        sweep=sweep,
    )
    return _curves(rows)


def strength_grid(ledger: pa.Table, points: int = 81) -> list[float]:
    """Evenly spaced strengths from 0 to where the last curve has fallen, or to the search limit."""
    ((last, limit),) = query(
        """
        select max(strength) filter (isfinite(strength)), max("limit") from ledger where status = 'ok'
        """,
        ledger=ledger,
    )
    top = min(max(last or 0.0, 1.0) * 1.02, limit or 1.0)
    return [top * number / (points - 1) for number in range(points)]


def statuses(ledger: pa.Table) -> dict[str, int]:
    """How many rows of the ledger have each status."""
    return dict(query("select status, count(*) from ledger group by status", ledger=ledger))


def _curves(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str], list[Point]]:
    curves: dict[tuple[str, str], list[Point]] = {}
    for panel, model, at, value, count in rows:
        curves.setdefault((panel, model), []).append(Point(at, Share(value, count)))
    return curves
