"""The flags of a run's `trust.json`: the result of each check for each number, and the numbers that
may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Flag:
    """The result of one check.

    Attributes:
        value: the measured value; each check defines it.
        found: the measured value in words.
        so: the consequence of a raised flag.
    """

    name: str
    raised: bool
    value: float
    found: str
    so: str = ""

    @property
    def why(self) -> str:
        """One line."""
        return f"{self.found}: {self.so}" if self.raised and self.so else self.found


INFORMATIVE = {"unused", "probabilities"}  # explains a number; does not mark it as wrong
PAGE = "docs/trust.md"  # has a heading for each check
EVERY = "every number"  # in place of a scenario: flags of a model that hold for all its numbers
Flags = dict[str, dict[str, Any]]
"""For each flag: whether it is raised, its value, and one line with the reason."""
Trust = Mapping[str, Mapping[str, Flags]]
"""The contents of a run's `trust.json`: flags by model and scenario."""


def joined(first: Trust, second: Trust) -> Trust:
    """The flags of both; the second wins where both have a flag."""
    return {model: {**first.get(model, {}), **second.get(model, {})} for model in dict.fromkeys([*first, *second])}


def doubted(flags: frozenset[tuple[str, str]], condition: str, model: str) -> bool:
    """Whether a number of a model may be wrong, under a scenario or another condition of its
    inputs.
    """
    return (condition, model) in flags or (EVERY, model) in flags


def flagged(trust: Trust) -> frozenset[tuple[str, str]]:
    """The (scenario, model) pairs whose number may be wrong; `EVERY` in place of a scenario stands
    for all numbers of the model.
    """
    return frozenset((scenario, model) for model, scenario, name, _ in raised(trust) if name not in INFORMATIVE)


def flag_lines(trust: Trust) -> list[str]:
    """One line per raised flag; where several scenarios of a model raise it for the same reason,
    one for all of them.
    """
    alike: dict[tuple[str, str, str], list[str]] = {}
    for model, scenario, name, flag in raised(trust):
        alike.setdefault((model, name, flag["why"]), []).append(scenario)
    return [f"{model}, {_named(scenarios)}: {name} — {why}" for (model, name, why), scenarios in alike.items()]


def raised_checks(trust: Trust) -> list[str]:
    """The names of the checks that raised a flag, each once."""
    return list(dict.fromkeys(name for _, _, name, _ in raised(trust)))


def explained(trust: Trust) -> list[str]:
    """Where each check that raised a flag is explained, as one line; no line without a flag."""
    places = ", ".join(f"{PAGE}#{name}" for name in raised_checks(trust))
    return [f"What each check tests, and what to do: {places}."] if places else []


def _named(scenarios: Sequence[str]) -> str:
    first, *others = sorted(scenarios, key=lambda each: (each.count("+"), each))
    return f"{first} and {len(others)} other scenario{'s' * (len(others) > 1)}" if others else first


def raised(trust: Trust) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Model, scenario, name and content of every flag that is raised."""
    for model, scenarios in trust.items():
        for scenario, flags in scenarios.items():
            yield from ((model, scenario, name, flag) for name, flag in flags.items() if flag["raised"])
