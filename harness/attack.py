"""The attacks that are run beside the search, with their options, checked before any work is done."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch

from attacks.errors import BadInput, unknown
from attacks.fixed import Fixed, FixedAttack, fixed_attack, free_options
from attacks.region import Region
from attacks.scenario import Scenario
from harness.registry import Reference, resolve
from harness.tasks import Task

GRAMMAR = "NAME, torchattacks:CLASS, package.module:object or file.py:object, with options as ?key=value&key=value"
TORCHATTACKS = "any class of the torchattacks library, as in torchattacks:APGD?steps=50"
TAKES = {bool: "true or false", int: "a whole number", float: "a number"}


def parse_all(texts: Sequence[str], task: Task, scenarios: Sequence[Scenario]) -> list[Fixed]:
    """The attacks of a run, each able to attack every scenario.

    Raises:
        BadInput: a reference names no attack, an option is not one of its attack's, or an attack cannot attack
            a scenario of the task.
    """
    attacks = [parse(text) for text in texts]
    if attacks:
        batch = task.splits["test"].take([0])
        margins = task.problem.verdict(torch.zeros(1, task.problem.width), batch.targets).margins
        for scenario in scenarios:
            for attack in attacks if scenario.attacked else ():
                attack.check(Region.of(batch.inputs, task.bounds(batch), scenario), None if margins is None else margins.shape[1])
    return attacks


def parse(text: str) -> Fixed:
    """Read one attack; see `GRAMMAR`."""
    target, options = fixed_attack(reference(text).target), text.partition("?")[2]
    return Fixed(text, target, dict(_option(text, target, each) for each in options.split("&") if each))


def reference(text: str) -> Reference:
    """What an attack's name, without its options, stands for."""
    return resolve("attack", text.partition("?")[0])


def _option(text: str, attack: FixedAttack, given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    known = free_options(attack)
    if not equals:
        raise BadInput(f"attack {text!r}: option {given!r} has no value: write {given}=…")
    if name not in known:
        raise unknown("option", name, known, where=f" of attack {text!r}")
    return name, _value(text, known[name], value)


def _value(text: str, option: inspect.Parameter, value: str) -> Any:
    """The value in the type of the option's default; a whole default takes any number, unless it is declared an int."""
    wanted = type(option.default)
    if wanted is str:
        return value
    if wanted is int and option.annotation not in (int, "int"):
        wanted = float
    number = _number(value)
    if type(number) is not wanted and not (wanted is float and type(number) is int):
        raise BadInput(f"attack {text!r}: option {option.name} takes {TAKES[wanted]}, not {value!r}")
    return number


def _number(text: str) -> bool | int | float | None:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None
