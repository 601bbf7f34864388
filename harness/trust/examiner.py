"""Trust: checks whether a worst-case number can be believed, and the flags that they raise.

Each model × scenario of the table is checked on a few of the run's samples, once the model's cells
are done. A raised flag does not change a number: it is shown wherever the number is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import torch

from attacks.objective import preserved
from attacks.region import Region
from attacks.scenario import Scenario, closure
from harness.analysis.curves import query
from harness.engine.loading import Loaded
from harness.engine.objective import TaskObjective
from harness.engine.plan import Work
from harness.engine.singly import out_of_memory
from harness.run.flags import EVERY, Flag, Flags, Trust
from harness.tasks import Batch
from harness.tasks.problems.problem import thresholds_of
from harness.trust.attack_checks import INSIDE_BALLS, blackbox, budget, planted, queries
from harness.trust.checks import OF_GRADIENTS, ON_THE_LEDGER, ON_THE_MODEL, STRENGTH, Case, Tally

READ = ("model", "sample", "scenario", "strength", "gradients", "status")  # columns of the ledger
SAMPLES = 32  # checked of each model and scenario, at most
UNCHECKED = "unchecked"
OF_THE_SEARCH = {
    *(check.__name__ for check in (budget, *INSIDE_BALLS, planted)),
    "gradient",
    "saturated",
    "quantised",
    UNCHECKED,
}


@dataclass(frozen=True, eq=False)
class Examiner:
    """The checks of one model of a run, on its ledger."""

    work: Work
    model: Loaded
    device: torch.device
    ledger: pa.Table

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """The scenarios of the table for which the model has rows."""
        there = {name for (name,) in self._query("select distinct scenario from ledger")}
        return [scenario for scenario in examined(self.work) if str(scenario) in there]

    def examine(self) -> dict[str, Flags]:
        """The flags for each scenario of the table. The model does not change, also after an
        exception.
        """
        found = {scenario: self._flags(scenario) for scenario in self.scenarios}
        return {str(scenario): flags | _of_parts(scenario, found) for scenario, flags in found.items()}

    def _flags(self, scenario: Scenario) -> Flags:
        """The flags of one scenario, with fewer samples if the device cannot hold them. A check
        that raises is a flag of its own.
        """
        count = min(SAMPLES, self.work.config.batch_size)
        while True:
            try:
                with preserved(self.model.module):
                    return {flag.name: _as_row(flag) for flag in _checked(self._case(scenario, count))}
            except (Exception, SystemExit) as error:
                if out_of_memory(error) and count > 1:
                    count //= 2
                    continue
                why = " ".join(f"a check ended in {type(error).__name__}: {error}".split())
                return {UNCHECKED: _as_row(Flag(UNCHECKED, True, 1.0, why))}

    def _case(self, scenario: Scenario, count: int) -> Case:
        """The first samples of the run that are right untouched; the first of all, if every sample
        is wrong.
        """
        task, drawn = self.work.task, self._checked(scenario, count)
        batch = task.splits["test"].take([row for row, _ in drawn]).to(self.device)
        return Case(
            objective=_objective(self.work, self.model.module, batch, scenario),
            region=Region.of(batch.inputs, task.bounds(batch), scenario),
            samples=batch.samples,
            seed=self.work.config.seed,
            strengths=torch.tensor(
                [strength for _, strength in drawn], dtype=torch.float64, device=batch.targets.device
            ),
            ledger=self._tally(scenario),
            complete={*scenario.names} == {*task.names},
            search=self.work.searches[self.model.name],
        )

    def _checked(self, scenario: Scenario, count: int) -> list[tuple[int, float]]:
        """Rows of the test split and their strengths."""
        sql = (
            "select number, strength from ledger join chosen using (sample) where scenario = $scenario and {} order by"
            " place limit $count"
        )
        given = {"scenario": str(scenario), "count": count}
        return self._query(sql.format("strength > 0"), given) or self._query(sql.format("true"), given)

    def _tally(self, scenario: Scenario) -> Tally:
        sql = """
            select count(*), count(*) filter (strength <= 0), count(*) filter (strength > $strength),
            sum(gradients) filter (strength > 0) from ledger where scenario = $scenario
        """
        ((samples, wrong, withstood, spent),) = self._query(sql, {"scenario": str(scenario), "strength": STRENGTH})
        return Tally(samples, wrong / samples, withstood / samples, (spent or 0) / max(1, samples - wrong))

    def _query(self, sql: str, given: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """A query on the model's rows without errors, and on the samples under test in the order of
        their choice.
        """
        mine = "with ledger as (select * from every where status = 'ok' and model = $model)"
        return query(
            f"{mine} {sql}", {**(given or {}), "model": self.model.name}, every=self.ledger, chosen=self._chosen
        )

    @cached_property
    def _chosen(self) -> pa.Table:
        names, chosen = self.work.task.splits["test"].samples, self.work.chosen
        return pa.table({"sample": [names[row] for row in chosen], "number": chosen, "place": range(len(chosen))})


def examined(work: Work) -> list[Scenario]:
    """The attacks of a run's table: the requested ones, and each of their modalities alone with
    nothing missing.
    """
    everything = [scenario for group in work.scenarios for scenario in closure(group)]
    singles = [scenario for scenario in everything if len(scenario.attacked) == 1 and not scenario.missing]
    return [scenario for scenario in dict.fromkeys([*singles, *work.requested]) if scenario.attacked]


def _checked(case: Case) -> Iterator[Flag]:
    for check in ON_THE_LEDGER:
        yield from check(case)
    if bool((case.strengths > 0).any()):
        for doubt in _on_the_search(case):
            yield from doubt(case)


def _on_the_search(case: Case) -> Iterator[Callable[[Case], Iterator[Flag]]]:
    """The checks of the model and of the search. A search without gradients needs none of those of
    gradients.
    """
    inside = () if case.region.scenario.edits else INSIDE_BALLS
    if getattr(case.search, "gradients", True):
        yield from (*ON_THE_MODEL, budget, *inside, planted)
        return
    yield from (check for check in ON_THE_MODEL if check not in OF_GRADIENTS)
    yield from (queries, *([blackbox] if inside else []), planted)


def _of_parts(scenario: Scenario, found: Mapping[Scenario, Flags]) -> Flags:
    """Scenarios with edits skip the checks inside balls. The flags of a part hold for the whole
    scenario.
    """
    if not scenario.edits or len(scenario.attacked) == 1:
        return {}
    parts = [
        single
        for single in found
        if len(single.attacked) == 1 and not single.missing and single.attacked[0] in scenario.attacked
    ]
    doubted = {
        str(single): [name for name, flag in found[single].items() if flag["raised"] and name in OF_THE_SEARCH]
        for single in parts
    }
    share = sum(map(bool, doubted.values())) / max(1, len(parts))
    why = "; ".join(f"{single} is flagged {', '.join(names)}" for single, names in doubted.items() if names)
    text = f"{why}: a flag of a part is a flag of the whole" if why else "no part of it is flagged"
    return {"part": _as_row(Flag("part", share > 0, share, text))}


def _as_row(flag: Flag) -> dict[str, Any]:
    return {"raised": flag.raised, "value": flag.value, "why": flag.why}


def _objective(work: Work, module: torch.nn.Module, batch: Batch, scenario: Scenario) -> TaskObjective:
    objective = TaskObjective(module, work.task, batch.targets, work.task.present(batch, scenario.missing), {})
    shares = thresholds_of(work.task.problem)
    if not shares:
        return objective
    everything = replace(objective, present=work.task.present(batch))
    with torch.no_grad():
        untouched = work.task.problem.score(everything.outputs(batch.inputs), batch.targets).double()
    return objective.below(shares[0] * untouched)


def check_run(work: Work, device: torch.device, ledger: pa.Table) -> Trust:
    """The flags for each model and scenario of a run's table; a model without rows is left out.

    Args:
        ledger: the columns `READ`, of all models.
    """
    examiners = (Examiner(work, model, device, ledger) for model in work.models)
    return {examiner.model.name: examiner.examine() for examiner in examiners if examiner.scenarios}


def of_models(work: Work) -> Trust:
    """The flags of each model, from its answers, that hold for all its numbers."""
    return {
        name: {EVERY: {flag.name: _as_row(flag) for flag in each.steadiness.flags}}
        for name, each in work.answering.items()
    }
