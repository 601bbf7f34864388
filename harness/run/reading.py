"""A run that one command reads: each part of a table is read once, and each table held once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from harness.run.directory import RunDirectory

FEW = 128  # numbers from 0 that fit into a byte with a sign


class Reading(RunDirectory):
    """The files of one run, which does not change meanwhile.

    Args:
        columns: of each table, all that the command reads. No others are held: tables may have
            millions of rows.
        kept: the rows of a part of the ledger that are held with all columns, where witnesses are
            stored beside it; none by default. Only these rows come with `witnesses`.
    """

    def __init__(
        self,
        url: str,
        columns: Mapping[str, Sequence[str]],
        kept: Callable[[pa.Table], pa.Table] = lambda part: part.slice(0, 0),
    ) -> None:
        super().__init__(url)
        self._columns = columns
        self._kept = kept
        self._tables: dict[str, pa.Table] = {}
        self._rows: dict[str, pa.Table] = {}

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """As that of a run directory, from the parts that were read before.

        Args:
            columns: some of those that the command reads; all of them if None.
        """
        if name not in self._tables:
            found = self._ledger() if name == "ledger" else super().table(name, self._columns[name])
            self._tables[name] = _narrow(found)
        return self._tables[name].select(list(columns or self._columns[name]))

    def _ledger(self) -> pa.Table:
        columns = [*self._columns["ledger"], *(["threshold"] if self.describe().threshold is not None else [])]
        stored = self.with_witnesses()
        found = []
        for name, part in self.tables.each("ledger", columns, stored):
            if name in stored:
                self._rows[name] = self._kept(part)
            found.append(part.select(columns))
        return self.tables.joined("ledger", found, columns)

    def _witnessed(self, part: str) -> list[dict[str, Any]]:
        self.table("ledger")
        rows: list[dict[str, Any]] = self._rows[part].to_pylist()
        return rows


def _narrow(table: pa.Table) -> pa.Table:
    """The table with each sample's name held once, and one byte for a repeated text of which there
    are few: a command holds its tables to the end.
    """
    for place, name in enumerate(table.column_names):
        column = table.column(name)
        if name == "sample":
            column = column.dictionary_encode()
        elif pa.types.is_dictionary(column.type) and all(len(chunk.dictionary) < FEW for chunk in column.chunks):
            small = [pa.DictionaryArray.from_arrays(x.indices.cast(pa.int8()), x.dictionary) for x in column.chunks]
            column = pa.chunked_array(small, pa.dictionary(pa.int8(), column.type.value_type))
        table = table.set_column(place, name, column)
    return table
