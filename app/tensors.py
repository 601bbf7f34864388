"""Single tensors of a safetensors file, without reading the others: witnesses and attributions of one sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import fsspec
import torch
from torch import Tensor

from attacks.errors import BadInput

LENGTH = 8  # bytes, little-endian: how long the header is
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "BOOL": torch.bool}


def read(files: fsspec.AbstractFileSystem, path: str, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """The tensors whose key is wanted; none where there is no such file.

    Raises:
        BadInput: the file is damaged.
    """
    if not files.exists(path):
        return {}
    try:
        length = int.from_bytes(files.cat_file(path, 0, LENGTH), "little")
        header = json.loads(files.cat_file(path, LENGTH, LENGTH + length))
        header.pop("__metadata__", None)
        return {key: _tensor(files, path, LENGTH + length, said) for key, said in header.items() if wanted(key)}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError, OSError) as error:
        raise BadInput(f"{path} is damaged: it cannot be read ({type(error).__name__}); remove the run and make it again") from None


def _tensor(files: fsspec.AbstractFileSystem, path: str, start: int, said: dict[str, Any]) -> Tensor:
    first, last = said["data_offsets"]
    content = bytearray(files.cat_file(path, start + first, start + last))
    return torch.frombuffer(content, dtype=DTYPES[said["dtype"]]).reshape(said["shape"])
