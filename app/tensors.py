"""Tensors of one sample from a run's files: witnesses and attributions."""

from __future__ import annotations

from collections.abc import Callable

import fsspec
from torch import Tensor

from attacks.errors import BadInput
from harness.storage.tensorfile import from_bytes


def read(files: fsspec.AbstractFileSystem, path: str, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """The tensors whose key is wanted; empty where there is no such file.

    Raises:
        BadInput: the file is damaged.
    """
    if not files.exists(path):
        return {}
    try:
        held = from_bytes(files.cat_file(path))
    except (ValueError, OSError) as error:
        raise BadInput(f"{path} is damaged: it cannot be read ({error}); remove the run and make it again") from None
    return {key: x for key, x in held.items() if wanted(key)}
