"""If one sample of a batch makes the model raise, only that sample is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from attacks.errors import BadInput, ModelBroke
from harness.engine.timelimit import TooSlow

T = TypeVar("T")


class OutOfTime(Exception):
    """The budget is spent. The cell is dropped, and done again when the run is resumed."""


def out_of_memory(error: BaseException) -> bool:
    """On a device, or on the CPU, where torch raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def passed_on(error: BaseException) -> None:
    """Raise again an error that does not belong to a sample: no memory, no time, or input that no
    part of the run can use.
    """
    if out_of_memory(error) or isinstance(error, TooSlow | OutOfTime):
        raise error
    if isinstance(error, BadInput) and not isinstance(error, ModelBroke):
        raise error


def singled_out(
    rows: Sequence[int], ask: Callable[[Sequence[int]], T]
) -> Iterator[tuple[Sequence[int], T | BaseException]]:
    """Answers for rows: all together or, if that raises, for each half in the same way. The error
    of a single row is its result.

    Raises:
        an error that does not belong to a sample, see `passed_on`.
    """
    try:
        answer = ask(rows)
    except (Exception, SystemExit) as error:
        passed_on(error)
        if len(rows) == 1:
            yield rows, error
            return
    else:
        yield rows, answer
        return
    middle = len(rows) // 2
    for half in (rows[:middle], rows[middle:]):
        yield from singled_out(half, ask)
