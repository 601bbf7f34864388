"""The failures that the checks of trust find count in the numbers: the ledger's rows are replaced.

A row that is replaced keeps, as `searched`, the strength that the run's own search found. The
checks start from it, so they find the same again when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from attacks.objective import preserved
from attacks.region import Inputs
from attacks.scenario import Scenario
from attacks.search_state import SearchState, search_all
from harness.engine.answers import ATTACKED, answer_keys
from harness.engine.cell import objectives_of, recorded
from harness.engine.graded import Result
from harness.engine.judged import taken_out
from harness.engine.ledger import keys_of
from harness.engine.loading import Loaded
from harness.engine.plan import Work
from harness.engine.presence import by_presence
from harness.engine.sweep import part
from harness.run.directory import RunDirectory
from harness.run.schema import SCHEMAS, Parts, place_of
from harness.tasks.problems.problem import thresholds_of
from harness.trust.checks import Nearer
from harness.trust.examiner import Finds

REPLACED = ("strength", "score", "label", "tally", "finder", "witness")
Tables = Mapping[str, pa.Table]


def count_finds(work: Work, directory: RunDirectory, finds: Finds, device: torch.device) -> None:
    """Replace the rows of the ledger for which checks found nearer failures, and those of the
    larger scenarios. Of graded answers, nothing is replaced: their thresholds hang together.
    """
    if not finds or thresholds_of(work.task.problem):
        return
    models = {model.name: model for model in work.models}
    for key in directory.cells_done():
        tables, witnesses = directory.cell(key)
        (name,) = tables["ledger"].column("model").unique().to_pylist()
        if name not in finds:
            continue
        found = Parts()
        with preserved(models[name].module):
            for parts in _proposed(work, models[name], finds[name], tables, device):
                found.take_in(parts)
        better = _better(tables["ledger"].to_pylist(), found.rows["ledger"])
        if better:
            held = {**witnesses, **_named(better.values(), found.witnesses)}
            directory.put(key, _replaced(tables, better), held, directory.errors_of(key))


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
    proposed = _Proposed({scenario: [*found] for scenario, found in finds.items()})
    for rows in torch.tensor(chosen, dtype=torch.int64).split(work.config.batch_size):
        batch = work.task.splits["test"].take(rows).to(device)
        for group in work.scenarios:
            for some, able in by_presence(work.task, batch, group):
                if not able:
                    continue
                few = part(batch, some)
                objective, _ = objectives_of(work, model.module, None, few, able[0].missing)
                for scenario, found in search_all(
                    proposed,
                    objective,
                    few.inputs,
                    work.task.bounds(few),
                    able,
                    samples=few.samples,
                    seed=work.config.seed,
                    limit=work.config.limit,
                ):
                    yield recorded(work, objective, few, [Result(scenario, None, found)])


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


def _better(ledger: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows that replace others, by sample and scenario."""
    known = {(row["sample"], row["scenario"]): row for row in ledger if row["status"] == "ok"}
    better = {}
    for row in found:
        where = row["sample"], row["scenario"]
        if where in known and row["strength"] < known[where]["strength"]:
            before = known[where]
            searched = before["strength"] if before["searched"] is None else before["searched"]
            better[where] = {**before, **{name: row[name] for name in REPLACED}, "searched": searched}
    return better


def _replaced(tables: Tables, better: Mapping[tuple[str, str], dict[str, Any]]) -> Tables:
    rows = [better.get((row["sample"], row["scenario"]), row) for row in tables["ledger"].to_pylist()]
    long = list(taken_out({"ledger": list(better.values())}))
    replaced = {**tables, "ledger": pa.Table.from_pylist(rows, SCHEMAS["ledger"])}
    if long:
        new = {(row["table"], row["sample"], place_of("tallies", row)): row for row in long}
        old = tables["tallies"].to_pylist()
        kept = [new.get((row["table"], row["sample"], place_of("tallies", row)), row) for row in old]
        columns = SCHEMAS["tallies"].names
        replaced["tallies"] = pa.Table.from_pylist(
            [{name: row[name] for name in columns} for row in kept], SCHEMAS["tallies"]
        )
    return replaced


def _named(rows: Any, witnesses: Inputs) -> dict[str, Tensor]:
    """The stored witnesses, and answers on them, of some rows of the ledger."""
    names = {name for row in rows for name in keys_of(row, row["attacked"].split("+")).values()}
    names |= {answer_keys(row)[ATTACKED] for row in rows}
    return {name: x for name, x in witnesses.items() if name in names}
