"""The tables of a run, part by part. A part is read only if it is whole, belongs to this run, and
counts no sample twice.

A row that two parts have would count twice; a row of another run is not this model's. Every reader
uses this module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from attacks.errors import BadInput
from harness.run.description import Description
from harness.run.schema import BESIDES, OPTIONAL, SCHEMAS
from harness.run.validation import row_faults
from harness.storage.folder import Storage
from harness.storage.parquet import decoded

SUFFIX = ".parquet"
FAILED = "-failed"  # ends the name of the ledger part of a cell that crashed: it is done again
KEYS = {
    "samples": ("model", "sample"),
    "sweep": ("model", "sample", "name", "level", "repeat"),
    "fronts": ("model", "sample", "scenario", "strength"),
    "tallies": ("model", "sample", "table", "name", "level", "repeat"),
    "ledger": ("model", "sample", "scenario", "threshold"),
    "attributions": ("model", "sample", "condition", "method", "modality"),
    "influences": ("model", "sample", "kind", "name", "level", "metric"),
}
"""The columns that identify a row of a table."""
OWNED = ("run", "seed", "limit")  # columns that a run has one value of
MEND = "remove that file and run the same command: its rows are computed again"


class Tables:
    """The tables in a storage, of the run that `described` describes."""

    def __init__(self, storage: Storage, described: Callable[[], Description]) -> None:
        self._storage = storage
        self._described = described

    @cached_property
    def _own(self) -> dict[str, list[Any]]:
        """The values that a row of the run may hold in these columns."""
        described = self._described()
        config = described.identity.config
        return {"run": [described.run], "model": config.model, "seed": [config.seed], "limit": [config.limit]}

    @cached_property
    def _modalities(self) -> int:
        return len(self._described().modalities)

    def parts(self, table: str) -> list[str]:
        """The names of its files, without their suffix."""
        return [name.removesuffix(SUFFIX) for name in self._storage.names(table, SUFFIX)]

    def whole(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All parts of a table.

        Args:
            columns: read only these, for tables of millions of rows; a repeated text is held once
                (as dictionaries).

        Raises:
            BadInput: a part is damaged, of another run, or holds a row that is there already.
        """
        return self.joined(table, [part for _, part in self.each(table, columns)], columns)

    @staticmethod
    def joined(table: str, parts: Sequence[pa.Table], columns: Sequence[str] | None) -> pa.Table:
        """The parts of a table as one table, which may have no rows."""
        if not parts:
            return schema(table).empty_table().select(columns or schema(table).names)
        whole = pa.concat_tables(parts)
        return whole if columns is None else whole.unify_dictionaries()

    def each(
        self, table: str, columns: Sequence[str] | None = None, wide: Collection[str] = ()
    ) -> Iterator[tuple[str, pa.Table]]:
        """Part by part. Samples that appear in two parts are refused at the end, when all parts
        have been read.

        Args:
            wide: the parts that are read with all columns.

        Raises:
            BadInput: as `whole`.
        """
        names, owners = self.parts(table), []
        for name in names:
            part, pairs = self._read(table, name, schema(table).names if name in wide else columns)
            owners.append(pairs)
            yield name, part
        self._refuse_twice(table, names, owners)

    def part(self, table: str, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """One part.

        Raises:
            BadInput: as `whole`.
        """
        return self._read(table, name, columns)[0]

    def _read(
        self, table: str, name: str, columns: Sequence[str] | None
    ) -> tuple[pa.Table, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        """A part, and a number for each pair of a model and a sample in it."""
        wanted = (
            None
            if columns is None
            else list(dict.fromkeys([*columns, *KEYS[table], *(name for name in OWNED if name in schema(table).names)]))
        )
        path = f"{table}/{name}{SUFFIX}"
        try:
            part = decoded(self._storage.read(path), schema(table), wanted, OPTIONAL.get(table, ()))
            fault = row_faults(table, part) or _repeated(part, KEYS[table]) or self._foreign(part)
            if fault:
                raise ValueError(fault)
        except (pa.ArrowException, OSError, ValueError) as error:
            why = str(error) if type(error) is ValueError else type(error).__name__
            raise BadInput(f"run {self._storage.url} is damaged: {path} cannot be read ({why}); {MEND}") from None
        return part if columns is None else part.select(list(columns)), _numbers(part)

    def _foreign(self, part: pa.Table) -> str:
        for name, own in self._own.items():
            there = part.column(name).unique().to_pylist() if name in part.column_names else []
            # null in errors
            others = [value for value in there if value not in own and (value is not None or name in ("run", "model"))]
            if others:
                return f"it holds rows of {name} {others[0]!r}, this is {name} {' or '.join(map(repr, own))}"
        patterns = part.column("present").unique().to_pylist() if "present" in part.column_names else []
        odd = next((each for each in patterns if each is not None and len(each) != self._modalities), None)
        return "" if odd is None else f"present {odd!r} of {self._modalities} modalities"

    def _refuse_twice(
        self, table: str, names: Sequence[str], owners: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]]
    ) -> None:
        pairs = np.concatenate([np.empty(0, np.int64), *owners])
        values, counts = np.unique(pairs, return_counts=True)
        if (counts < 2).all():
            return
        twice = values[counts > 1][0]
        first, second, *_ = [name for name, own in zip(names, owners, strict=True) if twice in own]
        model, sample = next(
            pair for pair in _pairs(self.part(table, first, ("model", "sample"))) if hash(pair) == twice
        )
        raise BadInput(
            f"run {self._storage.url} is damaged: {table}/{first}{SUFFIX} and {table}/{second}{SUFFIX} both hold sample"
            f" {sample!r} of model {model!r}; remove the copy"
        )


def schema(table: str) -> pa.Schema:
    """The columns of a table."""
    return {**SCHEMAS, **BESIDES}[table]


def _pairs(part: pa.Table) -> list[tuple[str, str]]:
    """Each model and sample of a part, once."""
    found = part.select(["model", "sample"]).group_by(["model", "sample"], use_threads=False).aggregate([])
    return list(zip(found.column("model").to_pylist(), found.column("sample").to_pylist(), strict=True))


def _numbers(part: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([hash(pair) for pair in _pairs(part)], np.int64)


def _repeated(part: pa.Table, keys: Sequence[str]) -> str:
    """A row that a part has twice; empty where there is none."""
    counts = part.select(list(keys)).group_by(list(keys), use_threads=False).aggregate([([], "count_all")])
    twice = [count > 1 for count in counts.column("count_all").to_pylist()]
    if not any(twice):
        return ""
    row = counts.slice(twice.index(True), 1).to_pylist()[0]
    return f"it holds sample {row['sample']!r} of model {row['model']!r} twice under one condition"
