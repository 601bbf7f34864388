"""A run is a directory: its description, and its tables, part by part.

Its path may be any fsspec URL. Every file appears whole or not at all. A cell writes its ledger
part last, so a cell whose ledger part exists is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from attacks.errors import BadInput
from harness.run.description import FORMAT, Description, described
from harness.run.fingerprint import Fingerprint, packed, unpacked
from harness.run.notes import Notes
from harness.run.schema import ATTRIBUTIONS, LEDGER, OPTIONAL, SCHEMAS, Attributed, Parts
from harness.run.seal import SEAL, checksum
from harness.run.set_metrics import SetMetric
from harness.run.tables import FAILED, SUFFIX, Tables
from harness.run.validation import differences
from harness.storage.files import PARTIAL
from harness.storage.folder import Storage
from harness.storage.parquet import encoded
from harness.storage.tensorfile import from_bytes, to_bytes

if TYPE_CHECKING:
    from torch import Tensor

RUN_FILE = "run.json"
FINGERPRINTS_FILE = "fingerprints.safetensors"
TENSORS = ".safetensors"
ESSENTIAL = {"format", "run", "status", "identity", "modalities"}  # keys of `run.json` that readers rely on


class RunDirectory:
    """The files of one run, at a path or URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._storage = Storage(url)
        self.files, self.root = self._storage.files, self._storage.root
        self.tables = Tables(self._storage, self.describe)
        self.notes = Notes(self._storage, lambda: self.describe().run)

    def start(self, description: Description, prints: Mapping[str, Fingerprint]) -> None:
        """Claim the directory for a new run, or for the run that is in it; see `release`.

        Args:
            prints: the fingerprints of the models.

        Raises:
            BadInput: it holds something else, or a run of another configuration, cannot be written,
                or another process writes there.
        """
        if self.files.exists(self.root) and not self.files.isdir(self.root):
            raise BadInput(f"--out {self.url} is a file: name a directory")
        self._storage.refuse_ways_out()
        if self._storage.exists(RUN_FILE):
            self._refuse_another(self.describe(), description)
        elif self._storage.exists("ledger"):
            raise BadInput(
                f"--out {self.url} holds the tables of a run but no {RUN_FILE}: restore that file, or name a new"
                " directory"
            )
        elif self._storage.holds_something({FINGERPRINTS_FILE}):
            raise BadInput(f"--out {self.url} holds files that are not part of a run: name an empty or a new directory")
        self._storage.claim()
        try:
            if not self._storage.exists(RUN_FILE) or not self._storage.exists(FINGERPRINTS_FILE):
                self._storage.write(FINGERPRINTS_FILE, packed(prints))
            self.note(description)
            self._drop_orphans()
        except BadInput:
            self.release()
            raise

    def release(self) -> None:
        """Let other processes write here again; the end of the process does the same."""
        self._storage.release()

    def describe(self) -> Description:
        """The contents of `run.json`.

        Raises:
            BadInput: there is no run here, or it is of a later version, or a link leads out of its
                directory.
        """
        self._storage.refuse_ways_out()
        try:
            content = json.loads(self._storage.read(RUN_FILE))
            complete = set(content) >= ESSENTIAL
        except (OSError, ValueError, TypeError, RecursionError):
            raise BadInput(f"{self.url} is not a run: it has no readable {RUN_FILE}") from None
        if not complete or not isinstance(content, dict):
            raise BadInput(
                f"{self.url} is not a run: its {RUN_FILE} lacks {', '.join(sorted(ESSENTIAL - set(content)))}"
            )
        if content["format"] != FORMAT:
            raise BadInput(f"run {self.url} has format {content['format']}, this version reads {FORMAT}")
        if content.pop(SEAL, "") not in ("", checksum(content)):  # earlier versions wrote none
            raise BadInput(
                f"run {self.url} is damaged: its {RUN_FILE} is not what was written; restore it, or run its command"
                f" again; if it was changed on purpose, remove its key {SEAL!r}"
            )
        try:
            return described(content)
        except ValueError as fault:
            raise BadInput(
                f"run {self.url} cannot be read: its {RUN_FILE} has no usable {fault}; run its command again"
            ) from None

    @property
    def sealed(self) -> bool:
        """Whether `run.json` has a checksum: then every part of a table has one, too."""
        return SEAL in json.loads(self._storage.read(RUN_FILE))

    def fingerprints(self) -> dict[str, Fingerprint]:
        """The fingerprint of each model when the run began; empty where the file is lost."""
        try:
            return unpacked(self._storage.read(FINGERPRINTS_FILE))
        except (OSError, ValueError):
            return {}

    def listing(self, folder: str) -> list[str]:
        """The names of the files in a folder of the run, without files that are being written."""
        return [name for name in self._storage.names(folder, "") if not name.endswith(PARTIAL)]

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return self._storage.read(name)

    def folders(self, start: str) -> list[str]:
        """The folders here whose names begin so."""
        return self._storage.folders(start)

    def note(self, description: Description) -> None:
        """Write `run.json`."""
        content = {"format": FORMAT, **description.content()}
        sealed = {**content, SEAL: checksum(content)}
        self._storage.write(RUN_FILE, json.dumps(sealed, indent=1).encode() + b"\n")

    def add_attributions(self, key: str, found: Attributed) -> None:
        """Write the attributions of a model; the table last."""
        self._storage.write(f"attributions/{key}.safetensors", to_bytes(found.tensors))
        self._storage.write(f"attributions/{key}.parquet", encoded(pa.Table.from_pylist(found.rows, ATTRIBUTIONS)))

    def write_metrics(self, metrics: Sequence[SetMetric], influences: pa.Table) -> None:
        """Write the metrics over the set, and how much each sample matters for them."""
        self._storage.write(f"influences/all{SUFFIX}", encoded(influences))
        self.notes.write_metrics(metrics)

    def add(self, key: str, parts: Parts) -> None:
        """Write the result of a cell."""
        there = [name for name in SCHEMAS if name != "tallies" or parts.rows[name]]
        tables = {name: pa.Table.from_pylist(parts.rows[name], SCHEMAS[name]) for name in there}
        self.put(key, tables, parts.witnesses, "\n".join(parts.errors))

    def put(self, key: str, tables: Mapping[str, pa.Table], witnesses: Mapping[str, Tensor], errors: str) -> None:
        """Write a cell, the ledger last. `errors` is the reason why some of its rows are errors."""
        if witnesses:
            self._storage.write(f"witnesses/{key}.safetensors", to_bytes(witnesses))
        if errors:
            self._storage.write(f"errors/{key}.txt", errors.encode())
        for name in SCHEMAS:
            if name in tables:
                self._storage.write(f"{name}/{key}.parquet", encoded(_without_empty(name, tables[name])))
        for stale in (f"ledger/{key}{FAILED}.parquet", *([] if errors else [f"errors/{key}.txt"])):
            self._storage.remove(stale)

    def add_error(self, name: str, traceback: str) -> None:
        """Write why something could not be done."""
        self._storage.write(f"errors/{name}.txt", traceback.encode())

    def errors_of(self, key: str) -> str:
        """The reason why some rows of a finished cell are errors; empty for a cell without
        errors.
        """
        file = f"errors/{key}.txt"
        return self._storage.read(file).decode(errors="replace") if self._storage.exists(file) else ""

    def has_errors(self) -> bool:
        """Whether any row of the ledger or the sweep is an error."""
        return any(
            "error" in self.table(name, ("status",)).column("status").unique().to_pylist()
            for name in ("ledger", "sweep")
        )

    def add_failure(self, key: str, rows: list[dict[str, Any]], traceback: str) -> None:
        """Write that a cell crashed; it is done again when the run is resumed."""
        self.add_error(key, traceback)
        self._storage.write(f"ledger/{key}{FAILED}.parquet", encoded(pa.Table.from_pylist(rows, LEDGER)))

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All parts of a table: samples, sweep, ledger or attributions; see `Tables.whole`.

        Raises:
            BadInput: a part is damaged, or a cell of graded answers has lost its fronts.
        """
        if name == "fronts" and self.describe().threshold is not None:
            self._refuse_lost(name)
        return self.tables.whole(name, columns)

    def _refuse_other_thresholds(self, ledger: pa.Table) -> None:
        """Refuse thresholds in the description that are not those of the rows: the first threshold
        chooses the rows that tables show.
        """
        found, named = set(ledger.column("threshold").unique().to_pylist()), self.describe().identity.thresholds
        if strange := sorted(found - {*named, None}) or (sorted(set(named) - found) if len(ledger) else []):
            raise BadInput(
                f"run {self.url} is damaged: {RUN_FILE} names the thresholds {', '.join(map(str, named))}, and the"
                f" ledger does not fit them at {strange[0]}; restore {RUN_FILE}"
            )

    def _refuse_lost(self, name: str) -> None:
        """Refuse a table that lacks a part of a cell that is done: its ledger is written last."""
        done = self.cells_done()
        if lost := sorted(set(done) - set(self.tables.parts(name))):
            raise BadInput(
                f"run {self.url} is damaged: {name}/{lost[0]}{SUFFIX} is gone; run the same command again: the cell is"
                " done again"
            )

    def ledger(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The ledger with one row for each model, sample and scenario, at the first threshold where
        answers are graded.
        """
        first = self.describe().threshold
        if first is None:
            return self.table("ledger", columns)
        wanted = columns or LEDGER.names
        whole = self.table("ledger", list(dict.fromkeys([*wanted, "threshold"])))
        self._refuse_other_thresholds(whole)
        return whole.filter(pc.equal(whole.column("threshold"), first)).select(list(wanted))

    def checked(self, name: str) -> list[str]:
        """The paths of a table's parts, after a check that each is whole, belongs to this run, and
        is not a copy.

        Raises:
            BadInput: a part fails this check.
        """
        return [f"{self.root}/{name}/{part}{SUFFIX}" for part, _ in self.tables.each(name)]

    def witnesses(self, stored: bool = False) -> Iterator[tuple[dict[str, Tensor], list[dict[str, Any]]]]:
        """For each cell, the stored witnesses (possibly empty), and the ledger's rows of the cell.

        Args:
            stored: leave out the cells without witnesses.

        Raises:
            BadInput: a part is damaged.
        """
        there = self.with_witnesses()
        for part in self.tables.parts("ledger"):
            if not stored or part in there:
                yield self._witnesses_of(part), self._witnessed(part)

    def with_witnesses(self) -> set[str]:
        """The cells whose witnesses are stored."""
        return {name.removesuffix(TENSORS) for name in self._storage.names("witnesses", TENSORS)}

    def _witnessed(self, part: str) -> list[dict[str, Any]]:
        """The rows of a part of the ledger that `witnesses` gives."""
        rows: list[dict[str, Any]] = self.tables.part("ledger", part).to_pylist()
        return rows

    def _witnesses_of(self, key: str) -> dict[str, Tensor]:
        file = f"witnesses/{key}.safetensors"
        try:
            return from_bytes(self._storage.read(file)) if self._storage.exists(file) else {}
        except (ValueError, OSError) as error:
            raise BadInput(f"run {self.url} is damaged: {file} cannot be read ({error})") from None

    def cells_done(self) -> list[str]:
        """The cells that are done."""
        return [part for part in self.tables.parts("ledger") if not part.endswith(FAILED)]

    def cell(self, key: str) -> tuple[dict[str, pa.Table], dict[str, Tensor]]:
        """The tables of a cell that is done, and the witnesses stored with it.

        Raises:
            BadInput: a part is damaged, or gone.
        """
        return {name: self.tables.part(name, key) for name in self.cell_tables()}, self._witnesses_of(key)

    def cell_tables(self) -> list[str]:
        """The tables that every cell of the run has a part of."""
        long = self.describe().tally is not None
        return [name for name in SCHEMAS if long or name != "tallies"]

    def failures(self) -> Iterator[tuple[str, list[dict[str, Any]], str]]:
        """The cells that crashed: key, rows of the ledger, and why."""
        for part in self.tables.parts("ledger"):
            if part.endswith(FAILED):
                key = part.removesuffix(FAILED)
                yield key, self.tables.part("ledger", part).to_pylist(), self.errors_of(key)

    def done(self) -> dict[str, set[str]]:
        """For each model, the samples whose rows are complete; read part by part, because there may
        be millions.
        """
        found: dict[str, set[str]] = {}
        for name, part in self.tables.each("ledger", ("model", "sample")):
            if name.endswith(FAILED):
                continue
            pairs = part.group_by(["model", "sample"], use_threads=False).aggregate([])
            for model, sample in zip(*(pairs.column(each).to_pylist() for each in ("model", "sample")), strict=True):
                found.setdefault(model, set()).add(sample)
        return found

    def forget_failures(self) -> None:
        """Drop the rows of cells that crashed, before they are done again."""
        for part in self.tables.parts("ledger"):
            if part.endswith(FAILED):
                self._storage.remove(f"ledger/{part}{SUFFIX}")

    def _drop_orphans(self) -> None:
        """Parts of a cell that was killed before its ledger part was written, or that has lost a
        part since.
        """
        tables = self.cell_tables()
        whole = set.intersection(*(set(self.tables.parts(name)) for name in tables))
        for name in tables:
            for part in set(self.tables.parts(name)) - whole:
                self._storage.remove(f"{name}/{part}{SUFFIX}")

    def _refuse_another(self, here: Description, wanted: Description) -> None:
        if here.run == wanted.run:
            return
        differing = ", ".join(differences(here.identity, wanted.identity))
        raise BadInput(
            f"--out {self.url} holds a run of another configuration (it differs in {differing}): name a new directory"
        )


def _without_empty(name: str, table: pa.Table) -> pa.Table:
    """A part of a table without its optional columns that are empty."""
    columns = [each for each in OPTIONAL.get(name, ()) if each in table.column_names]
    return table.drop_columns([each for each in columns if table.column(each).null_count == len(table)])
