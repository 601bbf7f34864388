"""Whether the rows of a run fit together: within a table, between tables, and with `run.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from attacks.scenario import closure, parse
from harness.run.description import Description
from harness.run.directory import RunDirectory
from harness.run.schema import place_of

Row = dict[str, Any]
SWEPT = ("name", "level", "repeat")


def contradictions(directory: RunDirectory) -> Iterator[str]:
    """One sentence for each cell whose tables contradict each other, or lack rows that the run
    requested.

    Raises:
        BadInput: a part cannot be read.
    """
    described = directory.describe()
    cells = {key: _rows(directory.cell(key)[0]) for key in directory.cells_done()}
    ledgers = [row for tables in cells.values() for row in tables["ledger"]]
    sweeps = [row for tables in cells.values() for row in tables["sweep"]]
    scenarios, conditions = (
        {(row["scenario"], row["threshold"]) for row in ledgers},
        {tuple(row[key] for key in SWEPT) for row in sweeps},
    )
    yield from _unknown(described, {name for name, _ in scenarios}, {row["name"] for row in sweeps})
    yield from _tasks([row for tables in cells.values() for rows in tables.values() for row in rows])
    yield from _samples([row for tables in cells.values() for row in tables["samples"]])
    for key, tables in cells.items():
        yield from _cell(key, tables, len(scenarios), len(conditions))
        if described.tally is not None:
            yield from _tallies(key, tables)


def _rows(tables: Mapping[str, pa.Table]) -> dict[str, list[Row]]:
    """The rows of a table; for tallies without the values, which are long."""
    return {name: table.drop_columns(["tally"]).to_pylist() for name, table in tables.items()}


def _tallies(key: str, tables: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Every answer has one tally."""
    there = {(row["model"], row["sample"], row["table"], *place_of("tallies", row)) for row in tables["tallies"]}
    answered = {
        (row["model"], row["sample"], name, *place_of(name, row))
        for name in tables.keys() - {"tallies"}
        for row in tables[name]
        if row.get("status", "ok") == "ok"
    }
    yield from (
        f"tallies/{key}.parquet lacks the tally of sample {sample!r} in table {name}"
        for _, sample, name, *_ in sorted(answered - there)[:1]
    )
    yield from (
        f"tallies/{key}.parquet holds a tally of sample {sample!r}, which table {name} does not"
        for _, sample, name, *_ in sorted(there - answered)[:1]
    )


def _unknown(described: Description, scenarios: set[str], schedules: set[str]) -> Iterator[str]:
    """Scenarios and schedules that the run neither names nor needs."""
    requested = [parse(text) for text in described.identity.scenarios]
    groups = [
        [each for each in requested if each.missing == missing] for missing in {each.missing for each in requested}
    ]
    known = {str(each) for group in groups for each in closure(group)}
    yield from (
        f"the ledger holds scenario {name!r}, which the run does not name" for name in sorted(scenarios - known)
    )
    if described.identity.schedules is None:
        return
    names = described.modalities
    sets = (
        {f"fixed({'+'.join(some)})" for size in range(1, len(names) + 1) for some in combinations(names, size)}
        if len(names) < 9
        else set()
    )
    own = {
        *sets,
        *(f"fixed({name})" for name in names),
        "mcar",
        *described.identity.schedules,
        *described.identity.corruptions,
    }
    yield from (f"the sweep holds schedule {name!r}, which the run does not name" for name in sorted(schedules - own))


def _tasks(rows: Sequence[Row]) -> Iterator[str]:
    tasks = sorted({row["task"] for row in rows})
    if len(tasks) > 1:
        yield f"rows are of several tasks: {', '.join(map(repr, tasks))}"


def _samples(rows: Sequence[Row]) -> Iterator[str]:
    """One sample is the same for every model."""
    first: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        here = row["hash"], row["target"], row["group"]
        if first.setdefault(row["sample"], here) != here:
            yield (
                f"sample {row['sample']!r} has another hash, target or group for model {row['model']!r} than for"
                " another model"
            )


def _cell(key: str, tables: Mapping[str, Sequence[Row]], scenarios: int, conditions: int) -> Iterator[str]:
    scores = {(row["model"], row["sample"]): row["score"] for row in tables["samples"]}
    for table, expected in (("ledger", scenarios), ("sweep", conditions)):
        rows = tables[table]
        strangers = sorted({row["sample"] for row in rows if (row["model"], row["sample"]) not in scores})
        yield from (
            f"{table}/{key}.parquet holds sample {sample!r}, which samples/{key}.parquet does not"
            for sample in strangers[:1]
        )
        if not strangers and len(rows) != expected * len(scores):
            yield (
                f"{table}/{key}.parquet has {len(rows)} rows for {len(scores)} samples under {expected} conditions:"
                " rows are missing"
            )
    for row in tables["ledger"]:
        clean = scores.get((row["model"], row["sample"]), row["clean_score"])
        if row["status"] == "ok" and row["clean_score"] != clean:
            yield (
                f"ledger/{key}.parquet: the clean score of sample {row['sample']!r} is not that of"
                f" samples/{key}.parquet"
            )
            return


def fewer(description: Description, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The numbers that are computed over fewer samples than the run has, in words.

    Args:
        counts: per model and condition, the samples that its number is over.
    """
    total = description.samples
    if total is None:
        return []
    sentences = []
    for model, conditions in counts.items():
        for count in sorted({each for each in conditions.values() if each < total}):
            first, *others = [name for name, each in conditions.items() if each == count]
            more = f" and {len(others)} other row{'s' * (len(others) > 1)}" if others else ""
            sentences.append(f"{model}: {first}{more} {'are' if others else 'is'} over {count} of {total} samples")
    return sentences


def lacking(description: Description, tables: Mapping[str, pa.Table]) -> int:
    """How many of the run's samples have no row for some model, in the table with the fewest rows;
    errors are rows.
    """
    total, models = description.samples, description.identity.config.model
    if total is None:
        return 0
    held = [_held(table, model) for table in tables.values() if len(table) for model in models]
    return max([0, *(total - each for each in held)])


def _held(table: pa.Table, model: str) -> int:
    return len(table.filter(pc.equal(table.column("model"), model)).column("sample").unique())
