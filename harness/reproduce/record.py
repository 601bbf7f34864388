"""Records: the results of a trial in one small file beside the page, committed with it.

A page is written from records alone, and a recorded trial is not repeated: a study can go on on
another day or another machine, without its checkpoints and runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from attacks.errors import BadInput
from harness.reproduce.cost import Cost
from harness.storage.files import write_whole
from harness.storage.parquet import decoded, encoded

KEY = b"record of a trial"
FORMAT = 2
FIRST_SEARCH = 1  # the version of the search of records that do not name it
SPLIT = "split"  # the table of every sample of the test split, in its order, untouched
INFLUENCES = "influences"  # of samples on a metric
COLUMNS = {
    "samples": ("sample", "score"),
    "sweep": ("sample", "kind", "name", "level", "repeat", "present", "score", "status"),
    "ledger": ("sample", "scenario", "strength"),
    SPLIT: ("score",),
    INFLUENCES: ("kind", "name", "level", "metric", "sample", "value"),
}
TYPES = {
    "sample": pa.string(),
    "score": pa.float64(),
    "kind": pa.string(),
    "name": pa.string(),
    "level": pa.float64(),
    "repeat": pa.int64(),
    "present": pa.string(),
    "status": pa.string(),
    "scenario": pa.string(),
    "strength": pa.float64(),
    "metric": pa.string(),
    "value": pa.float64(),
}
SCHEMA = pa.schema([("table", pa.string()), *TYPES.items()])


@dataclass(frozen=True, eq=False)
class Record:
    """The record of one trial.

    Attributes:
        tables: `samples`, `sweep` and `ledger` as the run has them, the columns that pages need;
            `split`: the scores of every test sample, in the split's order, untouched;
            `influences`: of samples on the metric of the setting, empty where it has none.
        card: of the checkpoint: its metrics, the seconds of training, the versions.
        cost: of a forward pass, where the trial was made.
        device: that it was made on.
        search: the version of the search that found the strengths.
    """

    tables: Mapping[str, pa.Table]
    card: Mapping[str, Any]
    cost: Cost
    device: str
    search: int

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        header = {
            "format": FORMAT,
            "card": self.card,
            "cost": asdict(self.cost),
            "device": self.device,
            "search": self.search,
        }
        below = pa.concat_tables([_part(name, self.tables[name]) for name in COLUMNS])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, encoded(below.replace_schema_metadata({KEY: json.dumps(header)}), compression="zstd"))


def read_record(path: Path) -> Record:
    """Read a record that `Record.write` wrote.

    Raises:
        BadInput: it is damaged, or of another version.
    """
    try:
        table = decoded(path.read_bytes())
        header = json.loads((table.schema.metadata or {})[KEY])
        here = list(table.schema.remove_metadata())
        if header["format"] != FORMAT or here != list(SCHEMA)[: len(here)]:  # earlier records lack the last columns
            raise ValueError("another version")
        names = table.column("table").to_pylist()
        rows = {name: pa.array([at for at, each in enumerate(names) if each == name], pa.int64()) for name in COLUMNS}
        tables = {
            name: table.take(rows[name]).select([each for each in columns if each in table.column_names])
            for name, columns in COLUMNS.items()
        }
        return Record(
            tables, header["card"], Cost(**header["cost"]), header["device"], header.get("search", FIRST_SEARCH)
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise BadInput(
            f"record {path} cannot be read ({type(error).__name__}): remove that file, and its trial is run again"
        ) from None


def _part(name: str, rows: pa.Table) -> pa.Table:
    given = {
        "table": pa.array([name] * len(rows), pa.string()),
        **{column: rows.column(column) for column in COLUMNS[name]},
    }
    columns = [
        given[field.name].cast(field.type) if field.name in given else pa.nulls(len(rows), field.type)
        for field in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA)
