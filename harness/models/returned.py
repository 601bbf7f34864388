"""Where the answer lies in what a network returns: a tensor, or a part of a tuple, a dictionary or
a dataclass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from attacks.errors import BadInput

Answer = str | int | Callable[[Any], Tensor]
LOGITS = ("logits", "logits_per_image")


def found(answer: Answer | None, returned: Any) -> Tensor:
    """The answer in what a network returns.

    Raises:
        BadInput: it is not there.
    """
    if answer is None:
        if isinstance(returned, Tensor):
            return returned
        answer = next((name for name in LOGITS if _has(returned, name)), LOGITS[0])
    held: Any
    if callable(answer):
        held = answer(returned)
    elif isinstance(answer, str) and not isinstance(returned, Mapping):
        held = getattr(returned, answer, None)
    else:
        try:
            held = returned[answer]
        except (KeyError, IndexError, TypeError):
            held = None
    if not isinstance(held, Tensor):
        raise BadInput(
            f"it returns {_form(returned)} without the answer {_named(answer)}: name the key, attribute or index of the"
            " logits, as harness.wrap(network, answer=0), or leave out answer where it returns them"
        )
    return held


def _named(answer: Answer) -> str:
    return f"that the function {getattr(answer, '__name__', 'given')} gives" if callable(answer) else repr(answer)


def _has(returned: Any, name: str) -> bool:
    held = returned.get(name) if isinstance(returned, Mapping) else getattr(returned, name, None)
    return isinstance(held, Tensor)


def _form(returned: Any) -> str:
    if isinstance(returned, Mapping):
        return f"a dictionary of {', '.join(map(str, returned))}"
    if isinstance(returned, tuple | list):
        return f"a {type(returned).__name__} of {len(returned)}"
    return type(returned).__name__


def placed(returned: Any, shape: tuple[int, ...]) -> Answer | None:
    """Where a tuple, a dictionary or a dataclass has its only tensor of a shape; None elsewhere."""
    if isinstance(returned, Tensor) or any(_has(returned, name) for name in LOGITS):
        return None
    items: list[tuple[Any, Any]]
    if isinstance(returned, Mapping):
        items = list(returned.items())
    elif is_dataclass(returned):
        items = [(each.name, getattr(returned, each.name, None)) for each in fields(returned)]
    else:
        items = list(enumerate(returned)) if isinstance(returned, tuple | list) else []
    fitting = [place for place, each in items if isinstance(each, Tensor) and tuple(each.shape) == shape]
    return fitting[0] if len(fitting) == 1 else None
