"""`verify --files`: is every file of a run complete and part of this run, and is no file left over?
No task and no model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from attacks.errors import BadInput, plain
from attacks.randomness import keyed_seed
from harness.engine.answers import ATTACKED, UNTOUCHED, answer_keys, stored_names
from harness.engine.ledger import keys_of, witness_hash
from harness.run.directory import FINGERPRINTS_FILE, RUN_FILE, RunDirectory
from harness.run.fingerprint import Fingerprint
from harness.run.notes import GATES_FILE, METRICS_FILE, TRUST_FILE
from harness.run.schema import BESIDES, SCHEMAS
from harness.run.status import COMPLETE, FINISHED
from harness.run.tables import FAILED
from harness.run.wholeness import contradictions, lacking
from harness.storage.folder import LOCK
from harness.storage.parquet import is_sealed
from harness.storage.tensorfile import from_bytes

FILES = (RUN_FILE, TRUST_FILE, GATES_FILE, METRICS_FILE, FINGERPRINTS_FILE, LOCK)
FOLDERS = {
    **dict.fromkeys((*SCHEMAS, *BESIDES), (".parquet",)),
    "attributions": (".parquet", ".safetensors"),
    "witnesses": (".safetensors",),
    "errors": (".txt",),
}
REPORTS = (".html", ".md", ".xml", ".sarif", ".json")  # files that commands write into a run on request


def verify_files(run: str) -> int:
    """Print every fault of a run's files and their number.

    Returns:
        the exit code: 0, or 3 where there are faults.

    Raises:
        BadInput: there is no run that could be checked.
    """
    faults = file_faults(RunDirectory(run))
    for fault in faults:
        print(plain(fault))
    print(f"the files of run {plain(run)} were checked, {len(faults) or 'no'} fault{'s' * (len(faults) != 1)} found")
    return 3 if faults else 0


def file_faults(directory: RunDirectory) -> list[str]:
    """One sentence for each fault; empty for a run without faults.

    Raises:
        BadInput: there is no run that could be checked.
    """
    directory.describe()
    notes = directory.notes
    files: list[Callable[[], object]] = [partial(_fingerprints, directory), notes.trust, notes.gates, notes.metrics]
    tables: list[Callable[[], object]] = [partial(directory.checked, table) for table in (*SCHEMAS, *BESIDES)]
    found = [why for check in (*files, *tables) if (why := _fault(check))]
    return list(
        dict.fromkeys(
            [
                *found,
                *_lacking(directory),
                *_orphans(directory),
                *_witnesses(directory),
                *_strangers(directory),
                *_unsealed(directory),
                *_contradictions(directory),
            ]
        )
    )


def _lacking(directory: RunDirectory) -> Iterator[str]:
    """Whether a complete run has every sample."""
    described = directory.describe()
    if described.status != COMPLETE:
        return
    try:
        held = directory.table("samples", ("model", "sample"))
    except BadInput:  # a part that cannot be read is a fault already
        return
    missing = lacking(described, {"samples": held}) if len(held) else described.samples
    if missing:
        yield (
            f"{missing} of {described.samples} samples have no rows: parts of the run are lost; run its command again,"
            " which does them anew"
        )


def _contradictions(directory: RunDirectory) -> Iterator[str]:
    try:
        yield from contradictions(directory)
    except BadInput:  # a part that cannot be read is a fault already
        return


def _fault(check: Callable[[], object]) -> str:
    try:
        check()
    except BadInput as error:
        return str(error)
    return ""


def _fingerprints(directory: RunDirectory) -> None:
    """The fingerprints of the file have the hashes of the run's identity."""
    expected = directory.describe().identity.answers
    hung = dict.fromkeys(expected, Fingerprint({}, "random"))  # a model that has hung left no answer there
    held = {model: each.digest for model, each in {**hung, **directory.fingerprints()}.items()}
    if expected and held != expected:
        raise BadInput(
            f"run {directory.url} is damaged: {FINGERPRINTS_FILE} has changed since the run began; restore that file"
        )


def _orphans(directory: RunDirectory) -> Iterator[str]:
    """Parts without those that a cell writes beside them."""
    done = set(directory.cells_done())
    for table in directory.cell_tables():
        parts = {name for name in directory.tables.parts(table) if not name.endswith(FAILED)}
        yield from (f"{table}/{name}.parquet has no ledger part beside it" for name in sorted(parts - done))
        yield from (
            f"{table}/{name}.parquet is lost, but ledger/{name}.parquet exists" for name in sorted(done - parts)
        )
    attributed = set(directory.tables.parts("attributions"))
    for name in directory.listing("attributions"):
        if name.endswith(".safetensors"):
            yield from (
                []
                if name.removesuffix(".safetensors") in attributed
                else [f"attributions/{name} has no table beside it"]
            )
            try:
                from_bytes(directory.read(f"attributions/{name}"))
            except (ValueError, OSError) as error:
                yield f"attributions/{name} cannot be read: {error}"
    yield from (
        f"witnesses/{name} has no ledger part"
        for name in directory.listing("witnesses")
        if name.partition(".")[0] not in done
    )


def _witnesses(directory: RunDirectory) -> Iterator[str]:
    """Stored witnesses have the hashes that the ledger has, and those that the run should keep are
    there.
    """
    kept: set[str] | None = None
    for key in directory.cells_done():
        try:
            kept = _kept(directory) if kept is None else kept
            tables, tensors = directory.cell(key)
        except BadInput as error:
            yield str(error)
            continue
        rows = [row for row in tables["ledger"].to_pylist() if row["witness"]]
        keys = [list(keys_of(row, row["attacked"].split("+")).values()) for row in rows]
        for row, names in zip(rows, keys, strict=True):
            scenario, sample = row["scenario"], row["sample"]
            held = [tensors.get(name) for name in names]
            there = [x for x in held if x is not None]
            if not there and sample in kept:
                yield (
                    f"witnesses/{key}.safetensors lacks the witness of sample {sample!r} under {scenario}, which the"
                    " run should keep"
                )
            if there and (len(there) < len(held) or witness_hash(there) != row["witness"]):
                yield (
                    f"witnesses/{key}.safetensors: sample {sample!r} under {scenario} is not the witness that the"
                    " ledger names"
                )
        yield from _lost_answers(directory, key, rows, tensors)
        known = stored_names(rows, tables["samples"]["sample"].to_pylist())
        yield from (
            f"witnesses/{key}.safetensors holds {name!r}, which the ledger does not name"
            for name in sorted(tensors.keys() - known)
        )


def _lost_answers(
    directory: RunDirectory, key: str, rows: Sequence[dict[str, Any]], tensors: Mapping[str, Tensor]
) -> Iterator[str]:
    """Beside a stored witness stand the answer on it and the untouched one, where a run keeps
    answers. A cell without any answer was made by an earlier version, which kept none.
    """
    keys = {name for row in rows for name in answer_keys(row).values()}
    if directory.describe().answer is None or not keys & tensors.keys():
        return
    for row in rows:
        witness, answers = keys_of(row, row["attacked"].split("+")), answer_keys(row)
        if any(name in tensors for name in witness.values()) and (
            lost := [which for which in (UNTOUCHED, ATTACKED) if answers[which] not in tensors]
        ):
            yield (
                f"witnesses/{key}.safetensors lacks the {lost[0]} answer of sample {row['sample']!r} under"
                f" {row['scenario']}, whose witness it holds"
            )


def _kept(directory: RunDirectory) -> set[str]:
    """The samples whose witnesses the run should keep, errors counted among them; of a part of a
    run, only where it should keep all.
    """
    described = directory.describe()
    parts = [directory.tables.part("ledger", name, ("sample",)) for name in directory.tables.parts("ledger")]
    names = {sample for part in parts for sample in part.column("sample").to_pylist()}
    if described.config is None:
        return set()
    seed, wanted = described.config.seed, described.config.witnesses
    if wanted == "all":
        return names
    ordered = sorted(names, key=lambda name: keyed_seed("choice", seed, name))
    return set(ordered[:wanted]) if isinstance(wanted, int) and described.status in FINISHED else set()


def _unsealed(directory: RunDirectory) -> Iterator[str]:
    """Parts without a checksum, in a run that writes them: another program wrote these."""
    if not directory.sealed:
        return
    for table in (*SCHEMAS, *BESIDES):
        for part in directory.tables.parts(table):
            file = f"{table}/{part}.parquet"
            if not is_sealed(directory.read(file)):
                yield (
                    f"{file} has no checksum: another program or an earlier version wrote it; restore the file of this"
                    " run"
                )


def _strangers(directory: RunDirectory) -> Iterator[str]:
    """Files that no command has written there."""
    for name in directory.listing(""):
        if name not in (*FILES, *FOLDERS) and not name.endswith(REPORTS):
            yield f"{name} is not part of a run"
    for folder, suffixes in FOLDERS.items():
        yield from (
            f"{folder}/{name} is not part of a run" for name in directory.listing(folder) if not name.endswith(suffixes)
        )
