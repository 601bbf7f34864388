"""`list`: every registered name, with its summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from inspect import Parameter

from attacks import scenario
from attacks.edits import EDITS
from attacks.fixed_budget import free_options
from attacks.norms import NORMS
from harness import schedules
from harness.corruptions import corruption
from harness.engine import extra_attacks, frontier
from harness.references import options
from harness.references.registry import KINDS, Kind, names, registered, summary

PLURALS = {"search": "searches"}
OFFERED: dict[Kind, Callable[..., Mapping[str, Parameter]]] = {
    "task": options.offered,
    "model": options.offered,
    "recipe": options.offered,
    "attack": free_options,
}


def catalogue() -> dict[str, dict[str, str]]:
    """For each kind, each name and its summary."""
    kinds = {PLURALS.get(kind, f"{kind}s"): {name: summary(kind, name) for name in names(kind)} for kind in KINDS}  # type: ignore[arg-type]
    kinds["attacks"]["torchattacks:CLASS"] = extra_attacks.TORCHATTACKS
    grammars = {
        "scenario": scenario,
        "frontier": frontier,
        "attack": extra_attacks,
        "schedule": schedules,
        "corruption": corruption,
    }
    grammar = {"norms": ", ".join(NORMS), **{name: module.GRAMMAR for name, module in grammars.items()}}
    return {
        **kinds,
        "edits": {name: edit.summary for name, edit in EDITS.items()},
        "options": _options(),
        "grammar": grammar,
    }


def _options() -> dict[str, str]:
    """For each name that takes options, all options with their defaults, as they are written behind
    the name.
    """
    known = {f"{kind} {name}": of(registered(kind, name)) for kind, of in OFFERED.items() for name in names(kind)}
    return {name: options.written(each) for name, each in known.items() if each}


def as_object() -> str:
    """The catalogue as one JSON object."""
    return json.dumps(catalogue(), indent=1)


def as_text() -> str:
    """The catalogue as text for readers."""
    lines = []
    for title, entries in catalogue().items():
        lines += [title, *(f"  {name:<26} {line}" for name, line in entries.items()), ""]
    return "\n".join(lines).rstrip()
