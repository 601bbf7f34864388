"""`merge`: join the shards of one run, and finish it like a whole run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence

import pyarrow as pa
from rich.console import Console

from attacks.errors import BadInput
from harness.commands.finish import finish
from harness.engine.answers import stored_names
from harness.engine.environment import choose_device
from harness.engine.model_checks import check_models
from harness.engine.plan import Work, load_all, prepare
from harness.engine.resuming import refuse_other_samples, standing_at
from harness.engine.standing import another, as_begun, describe, standing
from harness.references.code_consent import permitted
from harness.run.config import Evaluation
from harness.run.description import Description
from harness.run.directory import RUN_FILE, RunDirectory
from harness.run.flags import joined
from harness.run.schema import LEDGER, SCHEMAS
from harness.run.status import is_shard, of_merged
from harness.tasks.files.dataroot import else_in
from harness.trust.examiner import of_models

OF_A_PART = ("shard", "engine", "address", "workers", "budget", "gates", "baseline")
"""Keys of a shard's configuration that the whole does not inherit."""
Done = dict[str, set[str]]


def merge(out: str, runs: Sequence[str], console: Console, code: Collection[str] = ()) -> int:
    """Collect run directories of one run in `out`, which is new or an earlier merge of the run.
    Then check the whole run, compute its attributions and summarise it.

    After a kill, the same command goes on. A sample that several runs have is taken from the first.

    Args:
        code: the files and modules that the runs name and that may be run.

    Returns:
        0, or 5 where cells are errors.

    Raises:
        BadInput: they name other code, they are not parts of one run, `out` is one of them or holds
            other files, or the task or a model has changed.
    """
    sources = [RunDirectory(url) for url in runs]
    described = _one_run(sources)
    target = RunDirectory(out)
    if any(source.root == target.root for source in sources):
        raise BadInput(f"merge into {out}: this is one of the runs to merge; name a new directory")
    there = target.describe() if target.files.exists(f"{target.root}/{RUN_FILE}") else None
    if there is not None and there.run == described.run and is_shard(there.status):
        raise BadInput(
            f"merge into {out}: this is a shard of the run, and the merge would overwrite it; name a new directory"
        )
    config = permitted(sources[0].url, described, code)
    config = config.model_copy(update={"out": out, **{key: Evaluation.model_fields[key].default for key in OF_A_PART}})
    device = choose_device(config.device)
    with else_in(config.data_root):
        task, models = load_all(config, device)
    work = prepare(config, task, models, check_models(models, task, device, config))
    description, first = describe(work, device), standing_at(sources[0])
    if why := another(first, standing(work, description)):
        raise BadInput(f"run {sources[0].url} {why}: restore the earlier version")
    for source in sources:
        refuse_other_samples(task, source)
    work, description = as_begun(work, description, described)
    directory = RunDirectory(out)
    directory.start(description, first.prints)
    try:
        directory.notes.write_trust(joined(directory.notes.trust(), of_models(work)))
        failed = _gather(directory, sources, work.run)
        missing = _missing(work, directory)
        console.print(
            f"run {work.run} in {directory.url}: merged {', '.join(runs)}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
        return finish(work, directory, description, device, console, of_merged(missing, len(work.chosen), failed))
    finally:
        directory.release()


def _one_run(sources: Sequence[RunDirectory]) -> Description:
    """The description of the first, after these checks: the others are of the same run, no shard
    appears twice, and no row of a shard counts twice.
    """
    first, *others = map(standing_at, sources)
    for source, other in zip(sources[1:], others, strict=True):
        if why := another(first, other):
            raise BadInput(f"{source.url} and {sources[0].url} are not parts of one run: {sources[0].url} {why}")
    shards: dict[str, RunDirectory] = {}
    for source, each in zip(sources, (first, *others), strict=True):
        shard = each.description.config.shard if each.description.config else None
        if shard is not None and shard in shards:
            raise BadInput(f"{shards[shard].url} and {source.url} are both shard {shard}: leave one of them out")
        shards |= {} if shard is None else {shard: source}
        for table in SCHEMAS:
            source.checked(table)
    return first.description


def _gather(into: RunDirectory, sources: Sequence[RunDirectory], run: str) -> bool:
    """Copy the cells that are missing there; True if some rows are errors."""
    done = into.done()
    cells = [(source, key, source.errors_of(key)) for source in sources for key in source.cells_done()]
    # a cell that is an error in one run may be complete in another
    for source, key, errors in sorted(cells, key=lambda each: bool(each[2])):
        tables, witnesses = source.cell(key)
        kept = {name: _renamed(_without(table, done), run) for name, table in tables.items()}
        if len(kept["ledger"]):
            whole = len(kept["ledger"]) == len(tables["ledger"])
            names = stored_names(kept["ledger"].to_pylist(), kept["samples"]["sample"].to_pylist())
            own = {name: x for name, x in witnesses.items() if name in names}
            into.put(key if whole else _key(key, kept["ledger"]), kept, own, errors)
            _add(done, kept["ledger"])
    for source in sources:  # a cell that crashed in one run may be done in another
        for key, rows, why in source.failures():
            left = _renamed(_without(pa.Table.from_pylist(rows, LEDGER), done), run)
            if len(left):
                into.add_failure(key, left.to_pylist(), why)
                _add(done, left)
    return into.has_errors()


def _renamed(table: pa.Table, run: str) -> pa.Table:
    """The rows under the id of the whole; shards that were done on different machines differ in
    it.
    """
    return table.set_column(table.column_names.index("run"), "run", pa.array([run] * len(table), pa.string()))


def _pairs(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table.column("model").to_pylist(), table.column("sample").to_pylist(), strict=True))


def _without(table: pa.Table, done: Done) -> pa.Table:
    new = [sample not in done.get(model, ()) for model, sample in _pairs(table)]
    return table if all(new) else table.filter(pa.array(new, pa.bool_()))


def _add(done: Done, table: pa.Table) -> None:
    for model, sample in _pairs(table):
        done.setdefault(model, set()).add(sample)


def _key(key: str, ledger: pa.Table) -> str:
    """The key for a part of a cell, whose other samples came from elsewhere."""
    return hashlib.sha256(json.dumps([key, sorted(set(_pairs(ledger)))]).encode()).hexdigest()[:16]


def _missing(work: Work, directory: RunDirectory) -> int:
    """How many samples some model lacks, errors not counted among them."""
    there = directory.done()
    for _, rows, _ in directory.failures():
        for row in rows:
            there.setdefault(row["model"], set()).add(row["sample"])
    names = work.task.splits["test"].samples
    return sum(any(names[row] not in there.get(model.name, ()) for model in work.models) for row in work.chosen)
