"""What the pages ask of runs: SQL over their tables, answered by DuckDB and kept until a file of the run changes.

Files on this machine are read by DuckDB itself, and only the columns a question needs; those on other file systems
are fetched once as Arrow tables.
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
kept = st.cache_data(max_entries=KEPT, show_spinner=False, hash_funcs={Run: lambda run: (run.url, run.stamp)})
"""Keeps what a function of runs returns, until one of them changes."""


@kept
def answer(run: Run, sql: str, values: tuple[Any, ...] = ()) -> pa.Table:
    """The answer to a query on the tables of a run, by their names; `values` stand for its question marks.

    Raises:
        BadInput: a file of the run cannot be read.
    """
    with duckdb.connect() as connection:
        try:
            for name in TABLES:
                if name in sql:
                    _register(connection, run, name)
            return connection.sql(sql, params=list(values)).to_arrow_table()
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            mend = "reload if it is being written; else remove that file and run the same command"
            raise BadInput(f"run {run.url} is damaged, its tables cannot be read: {_first_line(error)}; {mend}") from None


def rows(run: Run, sql: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """The same as dictionaries."""
    found: list[dict[str, Any]] = answer(run, sql, values).to_pylist()
    return found


def _register(connection: Any, run: Run, name: str) -> None:
    """Let a connection know a table; its column `file` says which part, and so which cell, a row is of."""
    if not run.parts[name]:
        connection.register(name, SCHEMAS[name].empty_table() if name in SCHEMAS else pa.table({"sample": pa.array([], pa.string())}))
    elif run.local:
        paths = ", ".join("'" + path.replace("'", "''") + "'" for path in run.parts[name])
        connection.execute(f"create view {name} as from read_parquet([{paths}], union_by_name = true, filename = 'file')")
    else:
        connection.register(name, _fetched(run, name))


@st.cache_resource(max_entries=12, show_spinner=False, hash_funcs={Run: lambda run: (run.url, run.stamp)})
def _fetched(run: Run, name: str) -> pa.Table:
    """A table of another file system; held once for all, not copied for each who asks."""
    tables = []
    for path in run.parts[name]:
        with run.files.open(path, "rb") as file:
            table = pq.read_table(file)
        tables.append(table.append_column("file", pa.array([path] * len(table), pa.string())))
    return pa.concat_tables(tables, promote_options="default")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
