"""The search of a run, and the one that takes its place where a model has no gradients."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from attacks.errors import BadInput
from attacks.search_state import Search, SearchState
from harness.engine.answering import Answering, Slopes
from harness.references import options
from harness.references.registry import names as registered
from harness.references.registry import resolve

BLACKBOX = {"fast": 1000, "standard": 5000, "thorough": 20000}
"""The queries of a search without gradients that takes the place of each preset."""


@dataclass(frozen=True)
class WhereFlat:
    """A search, and one without gradients after it where an attacked modality has none.

    Attributes:
        flat: these modalities.
    """

    first: Search
    then: Search
    flat: tuple[str, ...]

    def __call__(self, state: SearchState) -> None:
        self.first(state)
        scenario = state.region.scenario
        if set(self.flat) & {*scenario.attacked_names} and not any(ball.edit.shared for ball in scenario.edits):
            self.then(state)


def search_for(text: str, answering: Answering | None) -> tuple[str, Search]:
    """The search of a model, in words and as an object. Where the model has no gradients, a search
    without them takes the place of a preset; where only some modalities have none, it follows the
    preset.

    Raises:
        BadInput: as `search_of`.
    """
    chosen, slopes = search_of(text), Slopes() if answering is None else answering.slopes
    if text not in BLACKBOX or (slopes.somewhere and not slopes.flat):
        return text, chosen
    without = f"blackbox?queries={BLACKBOX[text]}"
    if not slopes.somewhere:
        return without, search_of(without)
    words = f"{text}, then {without} where {' or '.join(slopes.flat)} is attacked,"
    return words, WhereFlat(chosen, search_of(without), slopes.flat)


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
