"""The search of a run, and the one that takes its place where a model has no gradients."""

from __future__ import annotations

import inspect

from attacks.errors import BadInput
from attacks.search_state import Search
from harness.engine.answering import Answering
from harness.references import options
from harness.references.registry import names as registered
from harness.references.registry import resolve

BLACKBOX = {"fast": 1000, "standard": 5000, "thorough": 20000}
"""The queries of a search without gradients that takes the place of each preset."""


def search_for(text: str, answering: Answering | None) -> str:
    """The search of a model: a search without gradients takes the place of a preset where the model
    has none.
    """
    return (
        text
        if answering is None or answering.gradients or text not in BLACKBOX
        else f"blackbox?queries={BLACKBOX[text]}"
    )


def search_of(text: str) -> Search:
    """The search that a reference names, with options as ``blackbox?queries=1000``.

    Raises:
        BadInput: no such name or option, or its object is not a search.
    """
    target = resolve("search", options.plain(text)).target
    if isinstance(target, type):
        target = target(**options.chosen("search", text, target))
    elif options.plain(text) != text:
        raise BadInput(f"search {options.plain(text)!r} has no options: leave {text.partition('?')[2]!r} out")
    try:
        inspect.signature(target).bind(None)
    except TypeError:
        known = ", ".join(registered("search"))
        raise BadInput(
            f"{text!r} is not a search: a search takes one argument, the search state (known: {known})"
        ) from None
    search: Search = target
    return search
