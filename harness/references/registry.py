"""Names and references: the objects that words on the command line stand for.

A reference is a registered name, ``package.module:object`` or ``path/to/file.py:object``. Each
top-level package has a ``CATALOGUE`` of its own names; other packages register through entry points
in the groups ``harness.task``, ``harness.model``, ``harness.recipe``, ``harness.search``,
``harness.attack``, ``harness.schedule`` and ``harness.corruption``. A module is imported only when
its name is used.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, get_args

from attacks.errors import BadInput, unknown
from harness.references.userfile import load_object

Kind = Literal["task", "model", "recipe", "search", "attack", "schedule", "corruption"]
KINDS: tuple[str, ...] = get_args(Kind)
FLOORS = ("attacks", "harness.tasks", "harness.models", "defenses", "harness.corruptions", "harness")
MODALITY = "<modality>"  # a name may hold it once: the family of all names with a modality in its place


@dataclass(frozen=True)
class Reference:
    """The object that a reference resolved to.

    Attributes:
        text: as it was written.
        target: the object, bound to the modality for a name of a family.
        source: the file the object's code stands in, if it is known.
        folder: of a user's file, whose code sees its own packages there.
    """

    text: str
    target: Any
    source: str | None
    folder: Path | None = None


@cache
def names(kind: Kind) -> dict[str, str]:
    """Every registered name of a kind, and the ``module:object`` it stands for."""
    found: dict[str, str] = {}
    for floor in FLOORS:
        found |= importlib.import_module(floor).CATALOGUE.get(kind, {})
    for entry in entry_points(group=f"harness.{kind}"):
        if entry.name in found:
            raise BadInput(f"entry point {entry.name!r} ({entry.value}) has the name of {found[entry.name]}: rename it")
        found[entry.name] = entry.value
    return found


def resolve(kind: Kind, text: str) -> Reference:
    """Find the object of a reference.

    Raises:
        BadInput: no such name (with the close matches), module, file or object.
    """
    registered = names(kind)
    if text in registered and MODALITY not in text:
        target = _imported(registered[text])
    elif ":" in text:
        found = load_object(kind, text)
        return Reference(text, found.target, found.source, found.folder)
    else:
        target = _of_family(kind, text)
    return Reference(text, target, _source(target))


def code_of(text: str) -> str | None:
    """The file or module that a reference would run; None of a registered name or a checkpoint."""
    place, colon, _ = text.partition("?")[0].rpartition(":")
    return place if colon else None


def registered(kind: Kind, name: str) -> Any:
    """The object of a registered name; for a family, before it is bound to a modality."""
    return _imported(names(kind)[name])


def summary(kind: Kind, name: str) -> str:
    """The summary of a registered name: its `summary`, or the first paragraph of its docstring."""
    target = registered(kind, name)
    return str(getattr(target, "summary", None) or " ".join((inspect.getdoc(target) or "").split("\n\n")[0].split()))


def _imported(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _of_family(kind: Kind, text: str) -> Callable[..., Any]:
    for name, reference in names(kind).items():
        pattern = re.escape(name).replace(re.escape(MODALITY), "(?P<modality>.+)")
        if MODALITY in name and (match := re.fullmatch(pattern, text)):
            return partial(_imported(reference), modality=match["modality"])
    if text.endswith(".py"):
        raise BadInput(f"{kind} {text!r} is a file: name an object in it, as {text}:NAME")
    raise unknown(kind, text, names(kind))


def _source(target: Any) -> str | None:
    """The file of the module that defines the object, or its class."""
    plain = target.func if isinstance(target, partial) else target
    module = sys.modules.get(getattr(plain, "__module__", None) or type(plain).__module__)
    return getattr(module, "__file__", None)
