"""What an item of a data set holds: the inputs of a sample by name, and its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from attacks.errors import BadInput
from harness.tasks.tensors import as_tensor

Read = Callable[[Any], tuple[Mapping[str, Any], Any]]
"""An item of a data set to its inputs by name, None where a modality is absent, and its target."""
TARGETS = ("target", "label", "labels", "y")


class Items(Protocol):
    """A data set: a torch `Dataset`, one of Hugging Face, a list of paths."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def paired(found: Any) -> tuple[Mapping[str, Any], Any]:
    """The inputs and the target that `read` returned.

    Raises:
        BadInput: it returned something else.
    """
    if isinstance(found, tuple | list) and len(found) == 2 and isinstance(found[0], Mapping):
        return found[0], found[1]
    raise BadInput(
        f"read= returned a {type(found).__name__}: return a pair, a dictionary of the inputs by name and the target"
    )


def lacks(value: Any) -> bool:
    """Whether a sample came without a modality: None, or values that are all masked or all NaN."""
    if isinstance(value, np.ma.MaskedArray):
        return bool(value.size and np.ma.getmaskarray(value).all())
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return bool(value.size and np.isnan(value).all())
    if isinstance(value, Tensor) and value.is_floating_point():
        return bool(value.numel() and value.isnan().all())
    return value is None


def one(what: str, value: Any) -> Tensor:
    """A value of one sample, in its own type.

    Raises:
        BadInput: it is not numbers.
    """
    if isinstance(value, Tensor) and not value.ndim:
        return value.detach().cpu()
    if isinstance(value, int | float | np.generic) or (isinstance(value, np.ndarray) and not value.ndim):
        return torch.as_tensor(np.asarray(value))
    return as_tensor(what, value)


@dataclass(frozen=True)
class ReadItem:
    """Reads items of the usual forms: a dictionary with a target among its keys; a pair of a
    dictionary and a target; a tuple of the inputs, in order, and the target.

    Attributes:
        names: of the inputs; empty: all but the target.
    """

    names: tuple[str, ...]

    def __call__(self, item: Any) -> tuple[Mapping[str, Any], Any]:
        if isinstance(item, Mapping):
            return self._of_dictionary(item)
        if isinstance(item, tuple | list) and len(item) > 1:
            *values, target = item
            if len(values) == 1 and isinstance(values[0], Mapping):
                return values[0], target
            if len(values) == len(self.names):
                return dict(zip(self.names, values, strict=True)), target
        raise BadInput(
            f"an item is a {type(item).__name__}, which names no inputs: say what an item holds with read=, a function"
            " that returns a dictionary of inputs and a target"
        )

    def _of_dictionary(self, item: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
        key = next((each for each in TARGETS if each in item), None)
        if key is None:
            raise BadInput(
                f"an item is a dictionary of {', '.join(map(str, item))}, without {', '.join(TARGETS)}: say what an"
                " item holds with read="
            )
        if not self.names and (others := [each for each in TARGETS if each in item and each != key]):
            raise BadInput(
                f"an item has {key!r} and {others[0]!r}, and both may be its target: name the inputs with modalities=,"
                " or say what an item holds with read="
            )
        wanted = self.names or [each for each in item if each != key]
        if absent := [name for name in wanted if name not in item]:
            raise BadInput(
                f"an item is a dictionary of {', '.join(map(str, item))}, without {absent[0]!r}: give None where a"
                " sample lacks it"
            )
        return {name: item[name] for name in wanted}, item[key]
