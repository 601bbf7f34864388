"""The tallies of a run, by number: short ones are in the rows that they belong to, long ones in a
table of their own.

Queries choose rows by the numbers of their tallies and never read the tallies. Long ones lie in a
file that is mapped into memory, since those of a run may be larger than the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from attacks.errors import BadInput
from harness.run.directory import RunDirectory
from harness.run.schema import PLACED, place_of

Array = NDArray[np.float64]
Tallies = Callable[[NDArray[np.int64]], Array]
"""Gives the tallies (N, T) of these numbers (N,)."""

OWNER = ("model", "sample")


def numbered(directory: RunDirectory, tables: Mapping[str, pa.Table]) -> tuple[dict[str, pa.Table], Tallies]:
    """Tables of a run whose column `tally` holds the number of the tally, and the tallies by these
    numbers.

    Raises:
        BadInput: a tally is lost. The tallies raise it where their lengths differ.
    """
    width = directory.describe().tally
    return _in_rows(tables) if width is None else _apart(directory, tables, width)


def _in_rows(tables: Mapping[str, pa.Table]) -> tuple[dict[str, pa.Table], Tallies]:
    found, start, held = {}, 0, []
    for name, table in tables.items():
        held += table.column("tally").chunks
        found[name] = _with(table, np.arange(start, start + len(table)))
        start += len(table)
    lists = pa.chunked_array(held, pa.list_(pa.float64()))
    return found, lambda numbers: _flat(lists.take(pa.array(numbers)).combine_chunks())


def _with(table: pa.Table, numbers: NDArray[np.int64]) -> pa.Table:
    return table.set_column(table.column_names.index("tally"), "tally", pa.array(numbers, pa.int64()))


def _flat(lists: pa.ListArray) -> Array:
    if len(lengths := lists.value_lengths().unique()) > 1:
        few, many = sorted(lengths.to_pylist())[:2]
        raise BadInput(
            f"some tallies of the problem have {few} numbers, others {many}: give the same number for every sample"
        )
    flat: Array = lists.flatten().to_numpy(zero_copy_only=False).copy()  # Arrow's own memory cannot be written to
    return flat.reshape(len(lists), -1) if len(lists) else flat.reshape(0, 0)


def _apart(directory: RunDirectory, tables: Mapping[str, pa.Table], width: int) -> tuple[dict[str, pa.Table], Tallies]:
    with TemporaryFile() as file:
        places = _spilled(directory, width, file)
        held = np.memmap(file, np.float32, "r", shape=(len(places), width)) if places else np.empty((0, width))
    found = {name: _with(table, _numbers(directory, name, table, places)) for name, table in tables.items()}
    return found, lambda numbers: held[numbers].astype(np.float64)


def _spilled(directory: RunDirectory, width: int, file: IO[bytes]) -> dict[tuple[Any, ...], int]:
    """Write the long tallies into a file, one after the other; the place of each."""
    places: dict[tuple[Any, ...], int] = {}
    for name, part in directory.tables.each("tallies"):
        lists = part.column("tally").combine_chunks()
        if lists.value_lengths().unique().to_pylist() not in ([], [width]):
            raise BadInput(
                f"run {directory.url} is damaged: tallies/{name}.parquet has tallies that do not have {width} numbers"
            )
        file.write(lists.flatten().to_numpy().tobytes())
        for row in part.drop_columns(["tally"]).to_pylist():
            places[tuple(row[key] for key in (*OWNER, "table", "name", "level", "repeat"))] = len(places)
    file.flush()
    return places


def _numbers(
    directory: RunDirectory, name: str, table: pa.Table, places: Mapping[tuple[Any, ...], int]
) -> NDArray[np.int64]:
    """The place of each row's tally; -1 in rows that are errors.

    Raises:
        BadInput: a row lacks its tally.
    """
    columns = [column for column in (*OWNER, *PLACED[name], "status") if column in table.column_names]
    found = []
    for row in table.select(columns).to_pylist():
        right = row.get("status", "ok") == "ok"
        place = places.get((row["model"], row["sample"], name, *place_of(name, row))) if right else -1
        if place is None:
            raise BadInput(
                f"run {directory.url} is damaged: tallies/ lacks the tally of sample {row['sample']!r} in table {name};"
                " remove tallies/ and run the same command: the lost rows are computed again"
            )
        found.append(place)
    return np.array(found, np.int64)
