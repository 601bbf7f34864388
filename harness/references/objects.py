"""Objects that a Python program hands over: while a call runs, names stand for them, as references
do on a command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["task", "model"]
_HELD: ContextVar[Mapping[tuple[str, str], Any]] = ContextVar("held", default=MappingProxyType({}))


@contextmanager
def holding(kind: Kind, objects: Mapping[str, Any]) -> Iterator[None]:
    """Let names stand for objects, in this thread, until the block ends."""
    before = _HELD.set({**_HELD.get(), **{(kind, name): each for name, each in objects.items()}})
    try:
        yield
    finally:
        _HELD.reset(before)


def held(kind: Kind, name: str) -> Any | None:
    """What a name stands for; None where it is a reference."""
    return _HELD.get().get((kind, name))
