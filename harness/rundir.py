"""A run is a directory: what was asked, and the tables, part by part.

Any fsspec URL serves where a path does. Every file appears whole or not at all, and the ledger's part is
the last that a cell writes: a cell whose ledger part exists is done.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from attacks.errors import BadInput
from harness.attributions import ATTRIBUTIONS, Attributed
from harness.cell import SCHEMAS, Parts
from harness.files import PARTIAL, refuse_ways_out, write_to
from harness.ledger import LEDGER
from harness.parquet import decoded, encoded
from harness.sound import description_faults, differences, row_faults, trusted

FORMAT = 1  # of the directory; raised when a reader of the old one would misread the new one
RUN_FILE = "run.json"
TRUST_FILE = "trust.json"
GATES_FILE = "gates.json"
ESSENTIAL = {"format", "run", "status", "identity", "modalities"}  # keys of `run.json` that readers rely on
LOCK = "lock"  # held by the process that writes here
FAILED = "-failed"  # ends the name of the ledger part of a cell that crashed: it is done again


class RunDirectory:
    """The files of one run, at a path or URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock: BinaryIO | None = None
        try:
            self.files, self.root = fsspec.core.url_to_fs(url if "://" in url else str(Path(url).resolve()))
        except (ValueError, ImportError) as error:
            raise BadInput(f"run directory {url!r} cannot be reached: {error}") from None

    def start(self, description: Mapping[str, Any]) -> None:
        """Claim the directory for a run, or take up the run that is in it; see `release`.

        Raises:
            BadInput: it holds something else, or a run of another configuration, cannot be written, or another process
                writes there.
        """
        if self.files.exists(self.root) and not self.files.isdir(self.root):
            raise BadInput(f"--out {self.url} is a file: name a directory")
        self._refuse_ways_out()
        if self._exists(RUN_FILE):
            self._refuse_another(self.describe(), description)
        elif self._exists("ledger"):
            raise BadInput(f"--out {self.url} holds the tables of a run but no {RUN_FILE}: put that back, or name a new directory")
        elif self._holds_something():
            raise BadInput(f"--out {self.url} holds files of something else: name an empty or a new directory")
        self._claim()
        try:
            self.note(description)
            self._drop_orphans()
        except BadInput:
            self.release()
            raise

    def release(self) -> None:
        """Let other processes write here again; the end of the process does the same."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _claim(self) -> None:
        """Keep other processes off, on a local disk; other file systems know no lock that the end of a process opens.

        Raises:
            BadInput: another process writes here.
        """
        if not self._local:
            return
        with self._writing():
            self.files.makedirs(self.root, exist_ok=True)
            self._lock = Path(self.root, LOCK).open("ab")  # noqa: SIM115 - held until the run ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.release()
            raise BadInput(f"run {self.url} is being written by another process: wait until that ends, or name another --out") from None

    def describe(self) -> dict[str, Any]:
        """What `run.json` says.

        Raises:
            BadInput: there is no run here, or one of a later version, or one that leads out of its directory.
        """
        self._refuse_ways_out()
        try:
            described: dict[str, Any] = json.loads(self._read(RUN_FILE))
            complete = set(described) >= ESSENTIAL
        except (OSError, ValueError, TypeError, RecursionError):
            raise BadInput(f"{self.url} is not a run: it has no readable {RUN_FILE}") from None
        if not complete or not isinstance(described, dict):
            raise BadInput(f"{self.url} is not a run: its {RUN_FILE} lacks {', '.join(sorted(ESSENTIAL - set(described)))}")
        if described.get("format") != FORMAT:
            raise BadInput(f"run {self.url} has format {described.get('format')}, this version reads {FORMAT}")
        if fault := description_faults(described):
            raise BadInput(f"run {self.url} cannot be read: its {RUN_FILE} has no usable {fault}; run its command again")
        return described

    def note(self, description: Mapping[str, Any]) -> None:
        """Write `run.json`."""
        self._write(RUN_FILE, json.dumps({"format": FORMAT, **description}, indent=1).encode() + b"\n")

    def note_trust(self, flags: Mapping[str, Any]) -> None:
        """Write `trust.json`: per model, scenario and flag, what the check said."""
        self._write(TRUST_FILE, json.dumps(flags, indent=1).encode() + b"\n")

    def note_gates(self, verdicts: list[dict[str, Any]]) -> None:
        """Write `gates.json`: what was decided of each gate.

        Raises:
            BadInput: it cannot be written.
        """
        try:
            self._write(GATES_FILE, json.dumps(verdicts, indent=1, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise BadInput(f"run {self.url}: {GATES_FILE} cannot be written: {error.strerror or error}") from None

    def add_attributions(self, key: str, found: Attributed) -> None:
        """Write what is attributed to the inputs of a model; the table last."""
        self._write(f"attributions/{key}.safetensors", to_safetensors(found.tensors))
        self._write(f"attributions/{key}.parquet", _parquet(found.rows, ATTRIBUTIONS))

    def trust(self) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
        """What `trust.json` says; nothing where no checks were made.

        Raises:
            BadInput: it is damaged.
        """
        if not self._exists(TRUST_FILE):
            return {}
        try:
            flags: dict[str, Any] = json.loads(self._read(TRUST_FILE))
            sound = trusted(flags)
        except (OSError, ValueError, RecursionError):
            sound = False
        if not sound:
            mend = "remove that file and run the same command: the checks are done again"
            raise BadInput(f"run {self.url} is damaged: {TRUST_FILE} cannot be read; {mend}")
        return flags

    def add(self, key: str, parts: Parts) -> None:
        """Write what a cell found; the ledger last."""
        if parts.witnesses:
            self._write(f"witnesses/{key}.safetensors", to_safetensors(parts.witnesses))
        for name in ("samples", "sweep", "ledger"):
            self._write(f"{name}/{key}.parquet", _parquet(parts.rows[name], SCHEMAS[name]))
        for stale in (f"ledger/{key}{FAILED}.parquet", f"errors/{key}.txt"):
            if self._exists(stale):
                self._remove(stale)

    def add_failure(self, key: str, rows: list[dict[str, Any]], traceback: str) -> None:
        """Write that a cell crashed; it is done again when the run is resumed."""
        self._write(f"errors/{key}.txt", traceback.encode())
        self._write(f"ledger/{key}{FAILED}.parquet", _parquet(rows, LEDGER))

    def table(self, name: str) -> pa.Table:
        """All parts of a table: samples, sweep, ledger or attributions."""
        parts = [self._read_part(f"{name}/{part}") for part in self._parts(name)]
        return pa.concat_tables(parts) if parts else _schema(name).empty_table()

    def _read_part(self, name: str) -> pa.Table:
        try:
            part = decoded(self._read(name))
            if not part.schema.equals(_schema(name.partition("/")[0])):
                raise ValueError("other columns")
            part.validate(full=True)
            if fault := row_faults(name.partition("/")[0], part):
                raise ValueError(fault)
        except (pa.ArrowException, OSError, ValueError) as error:
            mend = "remove that file and run the same command: what it held is done again"
            raise BadInput(f"run {self.url} is damaged: {name} cannot be read ({_said(error)}); {mend}") from None
        return part

    def witnesses(self, stored: bool = False) -> Iterator[tuple[dict[str, Tensor], list[dict[str, Any]]]]:
        """Cell by cell, the stored witnesses, none where there are none, and the ledger's rows of that cell.

        Args:
            stored: leave out the cells that have none.

        Raises:
            BadInput: a part is damaged.
        """
        there = set(self._parts("witnesses", ".safetensors"))
        for part in self._parts("ledger"):
            file = part.replace(".parquet", ".safetensors")
            if stored and file not in there:
                continue
            try:
                tensors = from_safetensors(self._read(f"witnesses/{file}")) if file in there else {}
            except (SafetensorError, OSError) as error:
                raise BadInput(f"run {self.url} is damaged: witnesses/{file} cannot be read ({error})") from None
            yield tensors, self._read_part(f"ledger/{part}").to_pylist()

    def done(self) -> set[tuple[str, str]]:
        """The (model, sample) pairs whose rows are complete."""
        ledger = self.table("ledger")
        columns = (ledger.column(name).to_pylist() for name in ("model", "sample", "status"))
        return {(model, sample) for model, sample, status in zip(*columns, strict=True) if status == "ok"}

    def forget_failures(self) -> None:
        """Drop the rows of cells that crashed, before they are done again."""
        for part in self._parts("ledger"):
            if part.endswith(f"{FAILED}.parquet"):
                self._remove(f"ledger/{part}")

    def _drop_orphans(self) -> None:
        """Parts of a cell that was killed before its ledger part was written, or that has lost a part since."""
        tables = ("samples", "sweep", "ledger")
        whole = set.intersection(*(set(self._parts(name)) for name in tables))
        for name in tables:
            for part in set(self._parts(name)) - whole:
                self._remove(f"{name}/{part}")

    def _refuse_another(self, here: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        if here.get("run") == wanted["run"]:
            return
        differing = differences(here.get("identity", {}), wanted["identity"])
        raise BadInput(
            f"--out {self.url} holds a run of another configuration (it differs in {', '.join(differing)}): name a new directory"
        )

    def _parts(self, name: str, suffix: str = ".parquet") -> list[str]:
        folder = f"{self.root}/{name}"
        if not self.files.exists(folder):
            return []
        self.files.invalidate_cache(folder)
        found = (path.rsplit("/", 1)[-1] for path in self.files.ls(folder, detail=False))
        return sorted(part for part in found if part.endswith(suffix))

    def _holds_something(self) -> bool:
        """Anything but what a killed run left of a file it was writing, or its lock."""
        if not self.files.exists(self.root):
            return False
        return any(not path.endswith((PARTIAL, f"/{LOCK}")) for path in self.files.ls(self.root, detail=False))

    def _exists(self, name: str) -> bool:
        return bool(self.files.exists(f"{self.root}/{name}"))

    def _read(self, name: str) -> bytes:
        content: bytes = self.files.cat_file(f"{self.root}/{name}")
        return content

    def _write(self, name: str, content: bytes) -> None:
        """Write so that a reader never sees half a file; on a local disk also after a power cut."""
        path = f"{self.root}/{name}"
        with self._writing():
            self.files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            write_to(self.files, path, content)

    def _remove(self, name: str) -> None:
        with self._writing():
            self.files.rm(f"{self.root}/{name}")

    def _refuse_ways_out(self) -> None:
        """A run from elsewhere may hold links to files that are not its own; other file systems than local ones know none."""
        if self._local and self.files.isdir(self.root):
            refuse_ways_out(Path(self.root).resolve(), f"run {self.url}")

    @property
    def _local(self) -> bool:
        return isinstance(self.files, LocalFileSystem)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say of a disk that is full, or read-only, what to do about it."""
        try:
            yield
        except OSError as error:
            mend = "mend that and run the same command: it goes on where it stopped"
            raise BadInput(f"--out {self.url} cannot be written: {error.strerror or error}; {mend}") from None


def _said(error: Exception) -> str:
    return str(error) if type(error) is ValueError else type(error).__name__


def _schema(table: str) -> pa.Schema:
    return {**SCHEMAS, "attributions": ATTRIBUTIONS}[table]


def _parquet(rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    return encoded(pa.Table.from_pylist(rows, schema))
