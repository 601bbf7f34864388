"""What the pages ask of runs: SQL over their tables, answered by DuckDB and kept until a file of the run changes.

Files on this machine are read by DuckDB itself: small ones once, of large ones only the columns and rows that a question
needs. Those on other file systems are fetched once as Arrow tables.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import streamlit as st

from app.runs import TABLES, Run
from attacks.errors import BadInput
from harness.cell import SCHEMAS

KEPT = 200  # answers
HELD = 64 * 2**20  # bytes of a table's files, up to which it is read once and held; of larger ones only what a query needs is read
kept = st.cache_data(max_entries=KEPT, show_spinner=False, hash_funcs={Run: lambda run: (run.url, run.stamp)})
"""Keeps what a function of runs returns, until one of them changes."""


@kept
def answer(run: Run, sql: str, values: tuple[Any, ...] = ()) -> pa.Table:
    """The answer to a query on the tables of a run, by their names; `values` stand for its question marks.

    Raises:
        BadInput: a file of the run cannot be read.
    """
    try:
        with _opened(run).cursor() as cursor:
            return cursor.sql(sql, params=list(values)).to_arrow_table()
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        mend = "reload if it is being written; else remove that file and run the same command"
        raise BadInput(f"run {run.url} is damaged, its tables cannot be read: {_first_line(error)}; {mend}") from None


def rows(run: Run, sql: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """The same as dictionaries."""
    found: list[dict[str, Any]] = answer(run, sql, values).to_pylist()
    return found


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs={Run: lambda run: (run.url, run.stamp)})
def _opened(run: Run) -> duckdb.DuckDBPyConnection:
    """A database that knows the tables of a run; their column `file` says which part, and so which cell, a row is of."""
    connection = duckdb.connect()
    for name in TABLES:
        if run.local and run.parts[name]:
            paths = ", ".join("'" + path.replace("'", "''") + "'" for path in run.parts[name])
            kind = "table" if sum(run.files.size(path) for path in run.parts[name]) <= HELD else "view"
            connection.execute(f"create {kind} {name} as from read_parquet([{paths}], union_by_name = true, filename = 'file')")
        else:
            connection.register("fetched", _fetched(run, name))
            connection.execute(f"create table {name} as from fetched")
    return connection


def _fetched(run: Run, name: str) -> pa.Table:
    """A table of another file system, or one without files."""
    tables = (
        [] if run.parts[name] else [SCHEMAS[name].empty_table() if name in SCHEMAS else pa.table({"sample": pa.array([], pa.string())})]
    )
    for path in run.parts[name]:
        with run.files.open(path, "rb") as file:
            table = pq.read_table(file)
        tables.append(table.append_column("file", pa.array([path] * len(table), pa.string())))
    return pa.concat_tables(tables, promote_options="default")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
