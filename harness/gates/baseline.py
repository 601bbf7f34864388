"""A baseline: the part of a run that gates need, in one small file to commit.

One Parquet file: the rows of the tables that gates read one below the other, marked by the column
`table`. Its metadata holds `run.json` and the raised flags, as JSON. Only `bless` writes it.
"""

from __future__ import annotations

import json

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from attacks.errors import BadInput, plain
from harness.gates.evidence import KEPT, Evidence
from harness.run.description import FORMAT, described
from harness.run.directory import RunDirectory
from harness.run.tables import schema
from harness.run.validation import row_faults, trusted
from harness.run.wholeness import lacking
from harness.storage.files import read_url, write_to
from harness.storage.parquet import decoded, encoded

KEY = b"robustness baseline"
_TYPES = {name: schema(table).field(name).type for table, names in KEPT.items() for name in names}
FIELDS = {name: pa.string() if pa.types.is_dictionary(kind) else kind for name, kind in _TYPES.items()}
SCHEMA = pa.schema([("table", pa.string()), *FIELDS.items()])
DESCRIBED = ("run", "status", "modalities", "identity", "versions", "git_commit")


def bless(directory: RunDirectory, url: str) -> Evidence:
    """Freeze a run, and return what was frozen.

    Raises:
        BadInput: the run is not whole, the file exists, or it cannot be written.
    """
    evidence = Evidence.of_run(directory)
    if evidence.description.status != "complete":
        raise BadInput(f"{evidence.where} is {evidence.description.status}: only a complete run can be a baseline")
    if missing := lacking(evidence.description, evidence.tables):
        raise BadInput(
            f"{evidence.where} lacks {missing} of {evidence.description.samples} samples: run the same command again"
        )
    try:
        files, path = fsspec.core.url_to_fs(url)
        if files.exists(path):
            raise BadInput(f"{url} exists already: name another file, or remove it")
        write_to(files, path, frozen(evidence))
    except BadInput:
        raise
    except Exception as error:  # each file system raises its own
        raise BadInput(f"{url} cannot be written: {plain(str(error)) or type(error).__name__}; name a file") from None
    return evidence


def frozen(evidence: Evidence) -> bytes:
    """The file's content; the same run gives the same bytes."""
    parts = [_part(name, evidence.tables[name]) for name in KEPT]
    raised = {
        model: {
            scenario: {name: flag for name, flag in flags.items() if flag["raised"]}
            for scenario, flags in scenarios.items()
        }
        for model, scenarios in evidence.trust.items()
    }
    content = evidence.description.content()
    kept = {"format": FORMAT, **{key: content.get(key) for key in DESCRIBED}, "trust": raised}
    table = pa.concat_tables(parts).replace_schema_metadata({KEY: json.dumps(kept, sort_keys=True).encode()})
    return encoded(table, compression="zstd")


def _part(name: str, rows: pa.Table) -> pa.Table:
    plain = pa.schema([(column, FIELDS[column]) for column in KEPT[name]])
    rows = rows.select(list(KEPT[name])).cast(plain)  # sorted without Arrow's threads, see harness.storage.parquet
    rows = rows.take(pc.sort_indices(rows, sort_keys=[(column, "ascending") for column in KEPT[name]]))
    given = {
        "table": pa.array([name] * len(rows), pa.string()),
        **{column: rows.column(column) for column in KEPT[name]},
    }
    columns = [given[field.name] if field.name in given else pa.nulls(len(rows), field.type) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def read_baseline(url: str) -> Evidence:
    """The baseline of `bless`, at a path or URL.

    Raises:
        BadInput: it is not a baseline, or is of another version.
    """
    try:
        table = decoded(read_url(url))
        content = json.loads((table.schema.metadata or {})[KEY])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException) as error:
        raise BadInput(
            f"{url} is neither a run nor a baseline: {plain(str(error))[:200]}; write one with `bless RUN --out FILE`"
        ) from None
    try:
        description, trust = described(content), trusted(content.get("trust"))
        whole = table.schema.remove_metadata().equals(SCHEMA) and content.get("format") == FORMAT
    except ValueError:
        whole, trust = False, {}
    if not whole:
        raise BadInput(f"baseline {url} is damaged, or was written by another version of the harness: bless a new one")
    tables = {name: table.filter(pc.equal(table.column("table"), name)).select(list(KEPT[name])) for name in KEPT}
    if fault := next((fault for name, part in tables.items() if (fault := row_faults(name, part))), ""):
        raise BadInput(f"baseline {url} is damaged: it holds {fault}; bless a new one")
    return Evidence(f"baseline {url}", description, tables, trust)


def evidence_at(url: str) -> Evidence:
    """A run or a baseline, at a path or URL.

    Raises:
        BadInput: there is neither.
    """
    directory = RunDirectory(url)
    is_folder = bool(directory.files.isdir(directory.root))
    if not is_folder and directory.files.exists(directory.root):
        return read_baseline(url)
    return Evidence.of_run(directory)
