"""The runs under the named addresses, and the reasons why some cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from attacks.errors import BadInput
from harness.run.description import Description, SavedConfig
from harness.run.directory import RUN_FILE, RunDirectory
from harness.run.notes import GATES_FILE, METRICS_FILE, TRUST_FILE
from harness.run.schema import BESIDES, OPTIONAL, SCHEMAS
from harness.run.status import RUNNING

DEEPEST = 4  # folders below the one that was named
TABLES = tuple(dict.fromkeys((*SCHEMAS, *BESIDES)))


@dataclass(frozen=True)
class Run:
    """A run directory at the time it was read.

    Attributes:
        label: a short name, unique among the runs shown; addresses of views use it.
        stamp: changes whenever a file of the run does.
        parts: the paths of the files of each table.
        problem: why it is skipped; empty if it is not.
        chosen: the threshold at which a page shows graded answers, where it is not the first.
    """

    url: str
    label: str
    stamp: str = ""
    described: Description | None = None
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problem: str = ""
    chosen: float | None = None

    @property
    def threshold(self) -> float | None:
        """The threshold at which the ledger is shown; None where answers are right or wrong."""
        return self.description.threshold if self.chosen is None else self.chosen

    @property
    def description(self) -> Description:
        """The description from `run.json`; not available for a skipped run."""
        assert self.described is not None, self.problem
        return self.described

    @property
    def config(self) -> SavedConfig:
        return self.description.identity.config

    @property
    def models(self) -> list[str]:
        return self.config.model

    @property
    def running(self) -> bool:
        return self.described is not None and self.described.status == RUNNING

    @property
    def files(self) -> fsspec.AbstractFileSystem:
        """The file system that the run lies on."""
        return RunDirectory(self.url).files

    @property
    def root(self) -> str:
        return str(RunDirectory(self.url).root)

    @property
    def local(self) -> bool:
        """Whether its files are on this machine."""
        return "file" in self.files.protocol


def found(addresses: Sequence[str]) -> list[Run]:
    """Every run under the addresses, in order, those that cannot be read among them."""
    urls = list(dict.fromkeys(url for address in addresses for url in _under(RunDirectory(address), address)))
    return [looked_at(url, label) for url, label in zip(urls, _labels(urls), strict=True)]


def looked_at(url: str, label: str) -> Run:
    """One run. Problems are noted, not raised."""
    directory, stamp = RunDirectory(url), ""
    try:
        listing = _listing(directory)
        stamp = hashlib.sha256(repr(listing).encode()).hexdigest()[:16]
        description = directory.describe()
        _check(directory, listing)
    except BadInput as error:
        return Run(url, label, stamp, problem=str(error))
    except OSError as error:
        return Run(url, label, stamp, problem=f"{url} cannot be read: {error.strerror or error}")
    return Run(url, label, stamp, description, {name: [path for path, _, _ in listing[name]] for name in TABLES})


def _under(directory: RunDirectory, url: str, depth: int = 0) -> Iterator[str]:
    """The run at an address, or those in the folders below; a folder of tables that lost its
    `run.json` counts.
    """
    try:
        entries = directory.files.ls(directory.root, detail=True)
    except OSError:
        return
    names = {entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry["type"] for entry in entries}
    if RUN_FILE in names or names.get("ledger") == "directory":
        yield url
        return
    if depth < DEEPEST:
        for name in sorted(name for name, kind in names.items() if kind == "directory" and not name.startswith(".")):
            below = f"{url.rstrip('/')}/{name}"
            yield from _under(RunDirectory(below), below, depth + 1)


def _labels(urls: Sequence[str]) -> list[str]:
    """The last folders of each address, as many as make the addresses distinct."""
    parts = [url.rstrip("/").split("/") for url in urls]
    count = 1
    while count < max(map(len, parts), default=0) and len({tuple(each[-count:]) for each in parts}) < len(parts):
        count += 1
    return ["/".join(each[-count:]) or "/" for each in parts]


def _listing(directory: RunDirectory) -> dict[str, list[tuple[str, int, str]]]:
    """Name, size and time of every file that a page reads, per folder."""
    listed = {"": _files(directory, "", (RUN_FILE, TRUST_FILE, GATES_FILE, METRICS_FILE))}
    return listed | {name: _files(directory, name, (".parquet",)) for name in TABLES}


def _files(directory: RunDirectory, folder: str, endings: tuple[str, ...]) -> list[tuple[str, int, str]]:
    path = f"{directory.root}/{folder}".rstrip("/")
    directory.files.invalidate_cache(path)
    try:
        entries = directory.files.ls(path, detail=True)
    except OSError:
        return []
    kept = [entry for entry in entries if entry["name"].endswith(endings)]
    return sorted((entry["name"], entry["size"] or 0, str(_time(entry))) for entry in kept)


def _time(entry: dict[str, Any]) -> Any:
    """When a file was last written; file systems call it by different names."""
    return next(
        (entry[key] for key in ("mtime", "LastModified", "last_modified", "updated", "created") if key in entry), ""
    )


def _check(directory: RunDirectory, listing: dict[str, list[tuple[str, int, str]]]) -> None:
    """Check the parts that pages need: flags, and tables with the columns of this version.

    Raises:
        BadInput: a part is not there, or is of another version.
    """
    directory.notes.trust()
    for name, schema in SCHEMAS.items():
        for path, size, time in listing[name]:
            needed = set(schema.names) - set(OPTIONAL.get(name, ()))
            if lacking := sorted(needed - set(_columns(directory, name, path, size, time))):
                raise BadInput(
                    f"run {directory.url} cannot be read: {name}/{_last(path)} lacks {', '.join(lacking)}; another"
                    " version wrote it"
                )


_COLUMNS: dict[tuple[str, str, int, str], list[str]] = {}


def _columns(directory: RunDirectory, name: str, path: str, size: int, time: str) -> list[str]:
    """The columns of a part of a table, from its footer; looked at once as long as the file stays
    the same.
    """
    key = (directory.files.unstrip_protocol(path), name, size, time)
    if key not in _COLUMNS:
        try:
            with directory.files.open(path, "rb") as file:
                _COLUMNS[key] = pq.read_schema(file).names
        except (pa.ArrowException, OSError) as error:
            mend = "remove that file and run the same command: its rows are computed again"
            raise BadInput(
                f"run {directory.url} is damaged: {name}/{_last(path)} cannot be read ({type(error).__name__}); {mend}"
            ) from None
    return _COLUMNS[key]


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]
