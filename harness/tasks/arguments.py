"""Checks of arguments that tasks with texts take from a Python program."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from numbers import Integral
from typing import Any

from attacks.errors import BadInput, shown


def check_whole(what: str, value: object) -> None:
    """Refuse what is not a whole number from 1.

    Raises:
        BadInput: naming what it is.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < 1:
        raise BadInput(f"{what} is {shown(value)}: give a whole number from 1")


def check_text(what: str, value: object) -> None:
    """Refuse what is not a text.

    Raises:
        BadInput: naming what it is.
    """
    if not isinstance(value, str):
        raise BadInput(f"{what} is {shown(value)}, of type {type(value).__name__}: give a text")


def check_texts(noun: str, texts: object, where: str = "") -> None:
    """Refuse what is not a list of texts; `where` begins the message.

    Raises:
        BadInput: naming the first that is none.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise BadInput(f"{where}there is {_named(texts)} in place of a list of {noun}: give a list, as ['two', '2']")
    for text in texts:
        check_text(f"{where}one of the {noun}", text)


def check_lists(noun: str, lists: object) -> None:
    """Refuse what is not a list of lists of texts.

    Raises:
        BadInput: naming the first that is none, and its sample.
    """
    if isinstance(lists, str) or not isinstance(lists, Iterable):
        raise BadInput(f"there is {_named(lists)} in place of a list of {noun} for each sample: give lists of texts")
    for number, texts in enumerate(lists):
        check_texts(noun, texts, f"sample {number}: ")


def _named(value: object) -> str:
    return f"the text {shown(value)}" if isinstance(value, str) else f"{shown(value)}, of type {type(value).__name__},"


def joined(
    options: Mapping[str, Any], by_name: Mapping[str, Mapping[str, Any]], own: Collection[str] = ()
) -> dict[str, Any]:
    """A user's options together with those that a kind of task sets by the name of an input; the
    user's win.

    Args:
        own: options that this kind of task sets itself.

    Raises:
        BadInput: the user gives one of these, or no dictionary where one is joined.
    """
    if clash := sorted(set(options) & set(own)):
        raise BadInput(f"option {clash[0]!r} is set by this kind of task: leave it out")
    for name in by_name:
        if not isinstance(options.get(name) or {}, Mapping):
            raise BadInput(f"{name} is {shown(options[name])}: give a dictionary of names")
    return {**options, **{name: {**each, **(options.get(name) or {})} for name, each in by_name.items()}}
