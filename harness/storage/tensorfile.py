"""Tensors as a safetensors file with its checksum inside: the only place that reads and writes the
tensors of runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CHECKSUM = "sha256"  # in the file's metadata
LENGTH = 8  # bytes, little-endian: how long the header is


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """A file's content; the same tensors give the same bytes, however they lie in memory."""
    import torch
    from safetensors.torch import save

    held = {name: x.clone(memory_format=torch.contiguous_format) for name, x in tensors.items()}
    return save(held, {CHECKSUM: checksum(held)})


def from_bytes(content: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of `to_bytes`. Files of earlier versions have no checksum.

    Raises:
        ValueError: it is not such a file, or a bit has changed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        length = int.from_bytes(content[:LENGTH], "little")
        metadata = json.loads(content[LENGTH : LENGTH + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is not a safetensors file ({type(error).__name__})") from None
    if metadata and metadata.get(CHECKSUM) != checksum(tensors):
        raise ValueError("its checksum does not fit its contents")
    return tensors


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, x in sorted(tensors.items()):
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        digest.update(as_bytes(x))
    return digest.hexdigest()


def as_bytes(x: Tensor) -> bytes:
    """The values of a tensor of any type and layout, in order; one on the device meta has none."""
    import torch

    if x.is_meta or not x.numel():
        return b""
    if x.is_nested:
        return b"".join(map(as_bytes, x.unbind()))
    dense = x.detach().dequantize() if x.is_quantized else x.detach().to_dense()
    # one value is contiguous whatever its strides are
    held = dense.resolve_conj().resolve_neg().cpu().clone(memory_format=torch.contiguous_format)
    return held.reshape(-1).view(torch.uint8).numpy().tobytes()
