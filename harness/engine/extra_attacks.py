"""The attacks that are run beside the search, with their options, checked before any work is
done.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from attacks.errors import BadInput
from attacks.fixed_budget import FixedBudget, fixed_attack, free_options
from attacks.objective import Verdict
from attacks.region import Region
from attacks.scenario import Scenario
from harness.references import options
from harness.references.registry import Reference, resolve
from harness.tasks import Task

GRAMMAR = f"NAME, torchattacks:CLASS, package.module:object or file.py:object, with options as {options.GRAMMAR}"
TORCHATTACKS = "any class of the torchattacks library, as in torchattacks:APGD?steps=50"


def parse_all(texts: Sequence[str], task: Task, scenarios: Sequence[Scenario]) -> list[FixedBudget]:
    """The attacks of a run, each able to attack every scenario.

    Raises:
        BadInput: a reference names no attack, an option is not one of its attack's, or an attack
            cannot attack a scenario of the task.
    """
    attacks = [parse(text) for text in texts]
    if attacks:
        batch = task.splits["test"].take([0])
        verdict = task.problem.verdict(torch.zeros(1, *task.problem.shape), batch.targets)
        margins = verdict.margins
        for attack in attacks:
            _check_losses(attack, verdict, task)
        for scenario in scenarios:
            for attack in attacks if scenario.attacked else ():
                attack.check(
                    Region.of(batch.inputs, task.bounds(batch), scenario), None if margins is None else margins.shape[1]
                )
    return attacks


def _check_losses(attack: FixedBudget, verdict: Verdict, task: Task) -> None:
    lacking = [name for name in getattr(attack.attack, "losses", ()) if name not in verdict.losses]
    if lacking:
        raise BadInput(
            f"attack {attack.name!r} raises the loss {lacking[0]!r}, which task {task.name!r} does not have (it has"
            f" {', '.join(verdict.losses)}): name another attack"
        )


def parse(text: str) -> FixedBudget:
    """Read one attack; see `GRAMMAR`."""
    target = fixed_attack(reference(text).target)
    return FixedBudget(text, target, options.given("attack", text, free_options(target)))


def reference(text: str) -> Reference:
    """The attack that a name, without its options, stands for."""
    return resolve("attack", options.plain(text))
