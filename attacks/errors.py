"""The error for input that cannot be used, and the form of its message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

QUOTED = 200  # signs of a value that a message quotes


class BadInput(ValueError):
    """Input that cannot be used. The message names the value and says what to do.

    The command line prints the message as one sentence and exits with code 2. Quoted text may come
    from anywhere: line breaks become spaces, and control characters are replaced.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(each if each.isprintable() else " " if each.isspace() else "�" for each in message))


class ModelBroke(BadInput):
    """The model answers NaN on inputs that an attack made; other models of the same run are not
    affected.
    """


def plain(text: str) -> str:
    """A text on one line, without characters that a terminal, XML or a page would interpret."""
    return "".join(each if each.isprintable() else "�" for each in " ".join(text.split()))


def shown(value: object) -> str:
    """How a message quotes a value: on one line, and not at length.

    >>> shown("a" * 1000)[-3:]
    'aa…'
    """
    try:
        text = plain(repr(value))
    except ValueError:  # Python writes no number of thousands of digits
        return "a number with too many digits"
    return text if len(text) <= QUOTED else f"{text[: QUOTED - 1]}…"


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> BadInput:
    """The error for a name that is not among `known`, with the close matches.

    >>> str(unknown("norm", "l3", ["linf", "l2"]))
    "unknown norm 'l3': did you mean l2? (known: linf, l2)"
    >>> str(unknown("modality", "adio", ["image", "audio"], where=" in task 'digits'"))
    "unknown modality 'adio' in task 'digits': did you mean audio? (known: image, audio)"
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f": did you mean {' or '.join(close)}?" if close else ""
    return BadInput(f"unknown {kind} {shown(name)}{where}{hint} (known: {', '.join(names) or 'none'})")
