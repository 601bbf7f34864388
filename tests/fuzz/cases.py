"""How many cases each fuzz target gets in the ordinary test run, in one place; all together 10,000
or more.

They are the same in every run. `ROBUSTNESS_FUZZ=random pytest tests/fuzz` draws others each time; a
failing case is printed with its seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from attacks.errors import BadInput

CASES = {
    "scenario texts": 1500,
    "scenarios written and read": 1000,
    "the order of scenarios": 1000,
    "schedule texts": 700,
    "corruption texts": 700,
    "frontier texts": 300,
    "options behind a name": 500,
    "configuration values": 700,
    "configuration bytes": 700,
    "flags": 500,
    "configurations written and read": 400,
    "gates values": 600,
    "gates bytes": 600,
    "descriptions of runs": 300,
    "trust files": 200,
    "cards": 500,
    "weights": 300,
    "tensors of a file": 400,
    "bytes of a table": 400,
    "rows that cannot be": 100,
    "tables of runs": 25,
    "curves": 60,
    "gates on rows": 100,
    "tasks from arrays": 400,
    "what happens to inputs": 200,
    "searches": 100,
}
RANDOM = os.environ.get("ROBUSTNESS_FUZZ") == "random"
USED: set[str] = set()


def fuzzed(name: str, **strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """A test with the number of cases in `CASES`; it also fails where fewer were made."""
    USED.add(name)

    def decorate(check: Callable[..., None]) -> Callable[[], None]:
        count = 0

        @wraps(check)
        def counted(**drawn: Any) -> None:
            nonlocal count
            count += 1
            check(**drawn)

        quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
        chosen = settings(
            max_examples=CASES[name], deadline=None, derandomize=not RANDOM, database=None, suppress_health_check=quiet
        )
        tested = chosen(given(**strategies)(counted))

        def test() -> None:
            tested()
            assert count >= CASES[name], f"{count} cases of {CASES[name]}"

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return decorate


def result_or_refusal(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The result of a call, or None where it refuses in one sentence. Any other exception is a
    failure.
    """
    try:
        return call(*arguments, **named)
    except BadInput as error:
        said = str(error)
        assert said and len(said) < 3000, said
        assert "\n" not in said, said
        return None
