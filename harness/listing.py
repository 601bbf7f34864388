"""`list`: every name there is, with one line each."""

from __future__ import annotations

import json

from attacks import scenario
from attacks.edits import EDITS
from attacks.norms import NORMS
from harness import attack, frontier, schedules
from harness.corruptions import corruption
from harness.registry import KINDS, names, summary

PLURALS = {"search": "searches"}


def catalogue() -> dict[str, dict[str, str]]:
    """Per kind, each name and its line."""
    kinds = {PLURALS.get(kind, f"{kind}s"): {name: summary(kind, name) for name in names(kind)} for kind in KINDS}  # type: ignore[arg-type]
    kinds["attacks"]["torchattacks:CLASS"] = attack.TORCHATTACKS
    grammars = {"scenario": scenario, "frontier": frontier, "attack": attack, "schedule": schedules, "corruption": corruption}
    grammar = {"norms": ", ".join(NORMS), **{name: module.GRAMMAR for name, module in grammars.items()}}
    return {**kinds, "edits": {name: edit.summary for name, edit in EDITS.items()}, "grammar": grammar}


def as_object() -> str:
    """The catalogue as one JSON object."""
    return json.dumps(catalogue(), indent=1)


def as_text() -> str:
    """The catalogue for reading."""
    lines = []
    for title, entries in catalogue().items():
        lines += [title, *(f"  {name:<26} {line}" for name, line in entries.items()), ""]
    return "\n".join(lines).rstrip()
