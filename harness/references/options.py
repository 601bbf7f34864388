"""Options behind a name, ``name?key=value&key=value``: read in the type of each option's default,
in the range it declares.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, get_args, get_origin

from attacks.errors import BadInput, unknown
from harness.models.option_types import check

GRAMMAR = "?key=value&key=value"
TAKES = {bool: "true or false", int: "a whole number", float: "a number"}


def plain(text: str) -> str:
    """The name, without its options."""
    return text.partition("?")[0]


def given(kind: str, text: str, known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """The options that a text gives of those that are known.

    Raises:
        BadInput: one has no value, is given twice, is unknown, of another type than its default, or
            outside of the range that it declares.
    """
    options = [_option(kind, text, known, each) for each in text.partition("?")[2].split("&") if each]
    if twice := [name for name, count in Counter(name for name, _ in options).items() if count > 1]:
        raise BadInput(f"{kind} {text!r}: option {twice[0]} is given twice: give it once")
    return dict(options)


def chosen(kind: str, text: str, target: Callable[..., Any]) -> dict[str, Any]:
    """The options in a text. The parameters of its object that have a plain default are options.

    Raises:
        BadInput: as `given`.
    """
    return {} if plain(text) == text else given(kind, text, offered(target))


def offered(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a target that are options: those with a plain default that a name of a
    family has not bound.
    """
    bound = target.keywords if isinstance(target, partial) else {}
    parameters = signature(target).parameters
    return {
        name: each
        for name, each in parameters.items()
        if isinstance(each.default, (bool, int, float, str)) and name not in bound
    }


def shortest(kind: str, text: str, target: Callable[..., Any]) -> str:
    """The name with only those options that are not at their defaults, in the order of the
    parameters.

    Raises:
        BadInput: as `given`.
    """
    known, values = offered(target), chosen(kind, text, target)
    other = {
        name: each.replace(default=values[name])
        for name, each in known.items()
        if values.get(name, each.default) != each.default
    }
    return plain(text) + (written(other) if other else "")


def written(known: Mapping[str, inspect.Parameter]) -> str:
    """Options at their defaults, as they are written behind a name.

    >>> def pruned(rate: float = 0.5, twice: bool = False): ...
    >>> written(offered(pruned))
    '?rate=0.5&twice=false'
    """
    values = {
        name: str(each.default).lower() if isinstance(each.default, bool) else each.default
        for name, each in known.items()
    }
    return "?" + "&".join(f"{name}={value}" for name, value in values.items())


def signature(target: Callable[..., Any]) -> inspect.Signature:
    """Its signature, with annotations evaluated; as written where they name types that only a type
    checker imports.
    """
    try:
        return inspect.signature(target, eval_str=True)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return inspect.signature(target)


def _option(kind: str, text: str, known: Mapping[str, inspect.Parameter], written: str) -> tuple[str, Any]:
    name, equals, value = written.partition("=")
    if not equals:
        raise BadInput(f"{kind} {text!r}: option {written!r} has no value: write {written}=…")
    if name not in known:
        raise unknown("option", name, known, where=f" of {kind} {text!r}")
    return name, _value(kind, text, known[name], value)


def _value(kind: str, text: str, option: inspect.Parameter, value: str) -> Any:
    """The value in the type of the option's default. A whole default takes any number unless it is
    declared as an int.
    """
    wanted, declared = type(option.default), option.annotation
    if wanted is str:
        if get_origin(declared) is Literal and value not in get_args(declared):
            raise unknown("value", value, get_args(declared), where=f" of option {option.name} of {kind} {text!r}")
        return value
    if wanted is int and getattr(declared, "__origin__", declared) not in (int, "int"):
        wanted = float
    number = _number(value)
    if number is None or (type(number) is not wanted and not (wanted is float and type(number) is int)):
        raise BadInput(f"{kind} {text!r}: option {option.name} takes {TAKES[wanted]}, not {value!r}")
    check(f"{kind} {text!r}: option {option.name}", number, declared)
    return number


# pydantic's TypeAdapter is no substitute here: from text it also takes 5.0 as a whole number, 1 and
# yes as true or false, and it turns 1 into 1.0, which would rename what is keyed by its options.
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
