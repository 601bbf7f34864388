"""Trust: checks whether a worst-case number can be believed, and the flags that they raise.

Each model × scenario of the table is checked on a few of the run's samples, once the model's cells
are done. A raised flag is shown wherever the number is. The failures that a check finds count in
the number: see `harness.trust.counted`. Where they are many, the check goes on to more samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from harness.trust.attack_checks import INSIDE_BALLS, blackbox, budget, planted, queries, unlimited, without_gradients
from harness.trust.checks import (
    AGAIN,
    FEW,
    OF_GRADIENTS,
    ON_THE_LEDGER,
    ON_THE_MODEL,
    STRENGTH,
    Case,
    Nearer,
    Tally,
)

READ = ("model", "sample", "scenario", "strength", "searched", "gradients", "status")  # columns of the ledger
SAMPLES = 32  # checked of each model and scenario, at most
FURTHER = 256  # the same where a check finds many failures
UNCHECKED = "unchecked"
OF_THE_SEARCH = {
    *(check.__name__ for check in (budget, *INSIDE_BALLS, planted)),
    "gradient",
    "saturated",
    "quantised",
    UNCHECKED,
}


Check = Callable[[Case], Iterator[Flag]]
Finds = Mapping[str, Mapping[Scenario, Sequence[tuple[str, Nearer]]]]
"""Failures that checks found, by model and scenario: a sample, and its failure."""


@dataclass(frozen=True, eq=False)
class Examiner:
    """The checks of one model of a run, on the strengths that its search found.

    Attributes:
        nearer: what the checks found under each scenario, by check and sample.
    """

    work: Work
    model: Loaded
    device: torch.device
    ledger: pa.Table
    nearer: dict[Scenario, dict[str, dict[str, Nearer]]] = field(default_factory=dict)

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """The scenarios of the table for which the model has rows."""
        there = {name for (name,) in self._query("select distinct scenario from ledger")}
        return [scenario for scenario in examined(self.work) if str(scenario) in there]

    @property
    def found(self) -> dict[Scenario, list[tuple[str, Nearer]]]:
        """The samples for which some check found a nearer failure, and these failures."""
        return {
            scenario: [(sample, each) for names in checks.values() for sample, each in names.items()]
            for scenario, checks in self.nearer.items()
            if any(checks.values())
        }

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
                    found = self.nearer[scenario] = {}
                    flags = {flag.name: _as_row(flag) for flag in _checked(self._case(scenario, count), found)}
                    self._look_further(scenario, count, found, flags)
                    return flags
            except (Exception, SystemExit) as error:
                if out_of_memory(error) and count > 1:
                    count //= 2
                    continue
                why = " ".join(f"a check ended in {type(error).__name__}: {error}".split())
                return {UNCHECKED: _as_row(Flag(UNCHECKED, True, 1.0, why))}

    def _look_further(self, scenario: Scenario, count: int, found: dict[str, dict[str, Nearer]], flags: Flags) -> None:
        """Look for failures among the samples that `count` has left out, and without gradients
        where the search misses planted failures; then, where a check finds many, among `FURTHER`
        samples.
        """
        right = self._query(
            "select count(*) from ledger where scenario = $scenario and strength > 0", {"scenario": str(scenario)}
        )[0][0]
        for start in range(count, min(SAMPLES, right), count):
            case = self._case(scenario, min(count, SAMPLES - start), start)
            _look(replace(case, again=max(0, AGAIN - start)), _attacking(case), found)
        if "planted" in flags and flags["planted"]["raised"]:
            for start in range(0, min(AGAIN, right), count):
                _look(self._case(scenario, min(count, AGAIN - start), start), [without_gradients], found)
        many = FEW * min(AGAIN, right)
        doubtful = [
            check for check in (budget, queries, without_gradients) if len(found.get(name_of(check), ())) > many
        ]
        doubtful += [blackbox] if found.get(name_of(blackbox)) else []
        for start in range(0, min(FURTHER, right), count) if doubtful else ():
            few = min(count, FURTHER - start)
            _look(replace(self._case(scenario, few, start), again=few), doubtful, found)

    def _case(self, scenario: Scenario, count: int, start: int = 0) -> Case:
        """The first samples of the run that are right untouched, after `start` of them; the first
        of all, if every sample is wrong.
        """
        task, drawn = self.work.task, self._checked(scenario, count, start)
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

    def _checked(self, scenario: Scenario, count: int, start: int) -> list[tuple[int, float]]:
        """Rows of the test split and their strengths."""
        sql = (
            "select number, strength from ledger join chosen using (sample) where scenario = $scenario and {} order by"
            " place limit $count offset $start"
        )
        given = {"scenario": str(scenario), "count": count, "start": start}
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
        mine = (
            "with ledger as (select * replace (coalesce(searched, strength) as strength) from every where status = 'ok'"
            " and model = $model)"
        )
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


def _checked(case: Case, found: dict[str, dict[str, Nearer]]) -> Iterator[Flag]:
    for check in ON_THE_LEDGER:
        yield from check(case)
    if bool((case.strengths > 0).any()):
        yield from _look(case, _on_the_search(case), found)


def _look(case: Case, checks: Iterable[Check], found: dict[str, dict[str, Nearer]]) -> list[Flag]:
    """The flags of some checks; the failures that each meets are added to `found`."""
    flags = []
    for check in checks:
        raised = list(check(case))
        flags += raised
        found.setdefault(name_of(check), {}).update(case.nearer)
        case.nearer.clear()
    return flags


def name_of(check: Check) -> str:
    """The name of a check."""
    return str(getattr(check, "__name__", check))


def _attacking(case: Case) -> list[Check]:
    """The checks that attack the model within its balls, or search again."""
    attacks = {budget, queries, *INSIDE_BALLS} - {unlimited}
    return [check for check in _on_the_search(case) if check in attacks and (case.again or check in INSIDE_BALLS)]


def _on_the_search(case: Case) -> Iterator[Check]:
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


def check_run(work: Work, device: torch.device, ledger: pa.Table) -> tuple[Trust, Finds]:
    """The flags for each model and scenario of a run's table, and the failures that the checks
    found; a model without rows is left out.

    Args:
        ledger: the columns `READ`, of all models.
    """
    examiners = [Examiner(work, model, device, ledger) for model in work.models]
    flags = {examiner.model.name: examiner.examine() for examiner in examiners if examiner.scenarios}
    return flags, {examiner.model.name: examiner.found for examiner in examiners if examiner.found}


def of_models(work: Work) -> Trust:
    """The flags of each model, from its answers, that hold for all its numbers."""
    return {
        name: {EVERY: {flag.name: _as_row(flag) for flag in each.steadiness.flags}}
        for name, each in work.answering.items()
    }
