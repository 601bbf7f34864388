"""The definition of a task beside its raw data: its modalities, its problem, and the metadata of
each sample.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.tasks.batch import Batch
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Problem


def definition_hash(name: str, inputs: Sequence[Modality | str], problem: Problem, splits: Mapping[str, Batch]) -> str:
    """SHA-256 over ranges, absent values, shapes, kinds, default attacks, the problem, sample ids,
    groups, masks and editable values.
    """
    digest = hashlib.sha256()
    samples = {split: [batch.samples, batch.groups, sorted(batch.valid)] for split, batch in sorted(splits.items())}
    digest.update(json.dumps(_stated([name, inputs, problem, samples]), sort_keys=True).encode())
    for split, batch in sorted(splits.items()):
        if batch.present is not None:
            digest.update(f"present {split} ".encode() + batch.present.cpu().contiguous().numpy().tobytes())
        for _, mask in sorted(batch.valid.items()):
            digest.update(f"{tuple(mask.shape)}".encode() + mask.detach().cpu().bool().contiguous().numpy().tobytes())
        for name, mask in sorted(batch.editable.items()):
            digest.update(
                f"free {name} {tuple(mask.shape)}".encode() + mask.detach().cpu().bool().contiguous().numpy().tobytes()
            )
    return digest.hexdigest()


def _stated(value: Any) -> Any:
    """A value as JSON that is the same in every process; an object is its class and its fields.

    A field that does not take part in comparisons is for display only, and not part of the
    definition.
    """
    if isinstance(value, Tensor):
        return _numbers(value)
    if isinstance(value, np.ndarray | np.generic):
        return _stated(value.tolist())
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _stated(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [_stated(each) for each in value]
    kind = value if hasattr(value, "__qualname__") else type(value)
    own = (
        {field.name: getattr(value, field.name) for field in fields(value) if field.compare}
        if is_dataclass(value)
        else None
    )
    held = getattr(value, "__dict__", {}) if own is None else own
    return [kind.__qualname__, {} if kind is value else _stated(held)]


def _numbers(x: Tensor) -> Any:
    """The values of a tensor in nested lists; the shape of one without values."""
    if x.is_meta:
        return list(x.shape)
    dense = x.detach().dequantize() if x.is_quantized else x.detach().to_dense()
    return (torch.view_as_real(dense.resolve_conj()) if x.is_complex() else dense).cpu().tolist()
