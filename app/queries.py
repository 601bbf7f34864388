"""Queries of the pages on runs: SQL over their tables. DuckDB answers them, and answers are kept
until a file of the run changes.

DuckDB reads files on this machine: small files once, and only the needed columns and rows of large
files. Those on other file systems are fetched once as Arrow tables.
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import duckdb
import pyarrow as pa
import streamlit as st

from app.runs import TABLES, Run
from attacks.errors import BadInput
from harness.run.directory import RunDirectory
from harness.run.tables import schema

KEPT = 200  # answers


def read_as(run: Run) -> tuple[object, ...]:
    """Everything that the answers to queries on a run depend on."""
    return run.url, run.stamp, run.chosen


# bytes of a table's files, up to which it is read once and held; of larger ones only what a
# query needs is read
HELD = 64 * 2**20
kept = st.cache_data(max_entries=KEPT, show_spinner=False, hash_funcs={Run: read_as})
"""Keeps what a function of runs returns, until one of them changes."""


@kept
def answer(run: Run, sql: str, values: tuple[Any, ...] = ()) -> pa.Table:
    """The answer to a query on the tables of a run, by their names; `values` stand for its question
    marks.

    Raises:
        BadInput: a file of the run cannot be read.
    """
    needed = [name for name in TABLES if name in sql]
    try:
        with opened(run).knowing(needed) as cursor:
            return cursor.sql(sql, params=list(values)).to_arrow_table()
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        for name in needed:
            RunDirectory(run.url).table(name)  # names the file, if it is one that is damaged
        mend = "reload if it is being written; else remove that file and run the same command"
        raise BadInput(f"run {run.url} is damaged, its tables cannot be read: {_first_line(error)}; {mend}") from None


def rows(run: Run, sql: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """The same as dictionaries."""
    found: list[dict[str, Any]] = answer(run, sql, values).to_pylist()
    return found


@dataclass
class Database:
    """The tables of a run; a table is opened when it is first used."""

    run: Run
    connection: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)
    known: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)

    def knowing(self, names: Sequence[str]) -> duckdb.DuckDBPyConnection:
        """A cursor for one thread; the column `file` of every table names the part, and so the
        cell, of a row.
        """
        with self.lock:
            for name in names:
                if name not in self.known:
                    self._learn(name)
                    self.known.add(name)
            return self.connection.cursor()

    def _learn(self, name: str) -> None:
        if self.run.local and self.run.parts[name]:
            checked = RunDirectory(self.run.url).checked(name)
            paths = ", ".join("'" + path.replace("'", "''") + "'" for path in checked)
            kind = "table" if sum(self.run.files.size(path) for path in checked) <= HELD else "view"
            source = f"read_parquet([{paths}], filename = 'file', union_by_name = true)"  # a column may be optional
        else:
            self.connection.register("fetched", _fetched(self.run, name))
            kind, source = "table", "fetched"
        self.connection.execute(f"create {kind} {name} as from {source}{self._at(name)}")

    def _at(self, name: str) -> str:
        """Pages read the ledger of graded answers at one threshold."""
        threshold = self.run.threshold
        return "" if name != "ledger" or threshold is None else f" where threshold = {threshold!r}::double"


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs={Run: read_as})
def opened(run: Run) -> Database:
    return Database(run)


atexit.register(opened.clear)  # open databases complain when the process ends


def _fetched(run: Run, name: str) -> pa.Table:
    """A table of another file system, or one without files."""
    tables = [] if run.parts[name] else [schema(name).empty_table()]
    for part, table in RunDirectory(run.url).tables.each(name):
        tables.append(table.append_column("file", pa.array([part] * len(table), pa.string())))
    return pa.concat_tables(tables, promote_options="default")


def trust(run: Run) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """The results of a run's checks, by model, scenario and flag.

    Raises:
        BadInput: the file does not have this version's format.
    """
    return RunDirectory(run.url).notes.trust()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def fronts(run: Run, scenario: str | None = None) -> pa.Table | None:
    """The fronts of graded answers, under one scenario or all; None where answers are right or
    wrong.
    """
    if run.description.threshold is None:
        return None
    sql = "select scenario, model, sample, strength, score from fronts"
    return answer(run, sql) if scenario is None else answer(run, f"{sql} where scenario = ?", (scenario,))
