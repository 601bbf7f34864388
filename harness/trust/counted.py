"""The failures that the checks of trust find count in the numbers: the ledger's rows are replaced.

A row that is replaced keeps, as `searched`, the strength that the run's own search found. The
checks start from it, so they find the same again when a run is resumed.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from attacks.objective import preserved
from attacks.region import Inputs
from attacks.scenario import Scenario
from attacks.search_state import SearchState, search_all
from harness.engine.answers import ATTACKED, answer_keys
from harness.engine.cell import objectives_of, recorded, search_arguments
from harness.engine.fronts import Front
from harness.engine.graded import searched
from harness.engine.judged import taken_out
from harness.engine.ledger import keys_of
from harness.engine.loading import Loaded
from harness.engine.plan import Work
from harness.engine.presence import by_presence
from harness.engine.singly import passed_on
from harness.engine.sweep import part
from harness.run.directory import RunDirectory
from harness.run.schema import SCHEMAS, Parts, place_of
from harness.tasks.problems.problem import thresholds_of
from harness.trust.checks import Nearer
from harness.trust.examiner import Finds

REPLACED = ("strength", "score", "label", "tally", "finder", "witness")
Row = dict[str, Any]
Tables = Mapping[str, pa.Table]


def count_finds(work: Work, directory: RunDirectory, finds: Finds, device: torch.device) -> None:
    """Replace the rows of the ledger for which checks found nearer failures, and those of the
    larger scenarios; add the points of graded answers to their fronts.
    """
    if not finds:
        return
    models = {model.name: model for model in work.models}
    for key in directory.cells_done():
        tables, witnesses = directory.cell(key)
        name = next(iter(tables["ledger"].column("model").unique().to_pylist()), None)
        if name is None or name not in finds:
            continue
        found = Parts()
        try:
            with preserved(models[name].module):
                for parts in _proposed(work, models[name], finds[name], tables, device):
                    found.take_in(parts)
        except (Exception, SystemExit):  # a model that raises by chance: what was found so far counts
            directory.add_error(f"{key}-checks", traceback.format_exc())
        better = _better(tables["ledger"].to_pylist(), found.rows["ledger"])
        if better:
            held = {**witnesses, **_named(better.values(), found.witnesses)}
            fronts = _joined_fronts(tables, better.values(), found.rows["fronts"])
            directory.put(key, _replaced(tables, better, fronts), held, directory.errors_of(key))


def _proposed(
    work: Work,
    model: Loaded,
    finds: Mapping[Scenario, Sequence[tuple[str, Nearer]]],
    tables: Tables,
    device: torch.device,
) -> Iterator[Parts]:
    """Rows of the samples of a cell for which something was found, from these failures alone."""
    here, names = set(tables["samples"].column("sample").to_pylist()), work.task.splits["test"].samples
    samples = {sample for found in finds.values() for sample, _ in found} & here
    chosen = [row for row in work.chosen if names[row] in samples]
    proposed, thresholds = _Proposed(finds), sorted(thresholds_of(work.task.problem), reverse=True)
    for rows in torch.tensor(chosen, dtype=torch.int64).split(work.config.batch_size):
        batch = work.task.splits["test"].take(rows).to(device)
        for group in work.scenarios:
            for some, able in by_presence(work.task, batch, group):
                if not able:
                    continue
                few = part(batch, some)
                objective, everything = objectives_of(work, model.module, None, few, able[0].missing)
                search = partial(
                    search_all,
                    proposed,
                    **search_arguments(work, few, able),
                    on_error=lambda scenario, error: passed_on(error),
                )
                for results in searched(search, objective, everything, few.inputs, thresholds):
                    yield recorded(work, objective, few, results)


class _Proposed:
    """A search that proposes what is known already."""

    def __init__(self, finds: Mapping[Scenario, Sequence[tuple[str, Nearer]]]) -> None:
        self.finds = finds

    def __call__(self, state: SearchState) -> None:
        rows = {sample: row for row, sample in enumerate(state.samples)}
        for sample, nearer in self.finds.get(state.region.scenario, ()):
            if sample in rows:
                where = next(iter(state.region.inputs.values())).device
                at = torch.tensor([rows[sample]], device=where)
                state.propose(at, {name: x[None].to(where) for name, x in nearer.witness.items()}, nearer.finder)


def _where(row: Mapping[str, Any]) -> tuple[str, str, float | None]:
    return row["sample"], row["scenario"], row["threshold"]


def _better(ledger: Iterable[Row], found: Iterable[Row]) -> dict[tuple[str, str, float | None], Row]:
    """The rows that replace others, by sample, scenario and threshold."""
    known = {_where(row): row for row in ledger if row["status"] == "ok"}
    better = {}
    for row in found:
        before = known.get(_where(row))
        if before is not None and row["strength"] < before["strength"]:
            searched = before["strength"] if before["searched"] is None else before["searched"]
            better[_where(row)] = {**before, **{name: row[name] for name in REPLACED}, "searched": searched}
    return better


def _joined_fronts(tables: Tables, better: Iterable[Row], found: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """The fronts, with the new points, of the samples and scenarios whose rows are replaced."""
    points: dict[tuple[str, str], list[Row]] = {}
    if not (changed := {(row["sample"], row["scenario"]): row for row in better}):
        return {}
    long = _long_tallies(tables)
    for row in tables["fronts"].to_pylist():
        tally = row["tally"] if row["tally"] is not None else long.get(_tally_place("fronts", row))
        points.setdefault((row["sample"], row["scenario"]), []).append({**row, "tally": tally})
    for row in found:
        points.setdefault((row["sample"], row["scenario"]), []).append(row)
    return {where: _joined(row, points[where]) for where, row in changed.items() if where in points}


def _joined(ledger: Row, points: Sequence[Row]) -> list[Row]:
    """The front of some points of one sample."""
    front = Front.empty(torch.tensor([ledger["clean_score"]], dtype=torch.float64), len(points[0]["tally"]))
    only = torch.tensor([0])
    for row in points:
        strength, score = torch.tensor([[row["strength"]], [row["score"]]], dtype=torch.float64)
        front.add(only, strength, score, torch.as_tensor(row["tally"], dtype=front.tally.dtype)[None])
    shared = {name: ledger[name] for name in ("run", "task", "model", "sample", "scenario")}
    return [{**shared, "strength": at, "score": score, "tally": tally} for at, score, tally in front.points(0)]


def _long_tallies(tables: Tables) -> dict[tuple[Any, ...], Any]:
    rows = tables["tallies"].to_pylist() if "tallies" in tables else []
    return {_tally_of(row): row["tally"] for row in rows}


def _tally_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["table"], row["sample"], *place_of("tallies", row))


def _tally_place(table: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (table, row["sample"], *place_of(table, row))


def _replaced(
    tables: Tables,
    better: Mapping[tuple[str, str, float | None], Row],
    fronts: Mapping[tuple[str, str], Sequence[Row]],
) -> Tables:
    ledger = [better.get(_where(row), row) for row in tables["ledger"].to_pylist()]
    old = [row for row in tables["fronts"].to_pylist() if (row["sample"], row["scenario"]) in fronts]
    points = [row for row in tables["fronts"].to_pylist() if (row["sample"], row["scenario"]) not in fronts]
    new = [row for each in fronts.values() for row in each]
    gone = {*(_tally_place("ledger", row) for row in better.values()), *(_tally_place("fronts", row) for row in old)}
    long = list(taken_out({"ledger": list(better.values()), "fronts": new}))
    rows = {"ledger": ledger, "fronts": [*points, *new]}
    if "tallies" in tables:
        kept = tables["tallies"].to_pylist()
        rows["tallies"] = [row for row in kept if _tally_of(row) not in gone]
        rows["tallies"] += [{name: row[name] for name in SCHEMAS["tallies"].names} for row in long]
    return {**tables, **{name: pa.Table.from_pylist(each, SCHEMAS[name]) for name, each in rows.items()}}


def _named(rows: Any, witnesses: Inputs) -> dict[str, Tensor]:
    """The stored witnesses, and answers on them, of some rows of the ledger."""
    names = {name for row in rows for name in keys_of(row, row["attacked"].split("+")).values()}
    names |= {answer_keys(row)[ATTACKED] for row in rows}
    return {name: x for name, x in witnesses.items() if name in names}
