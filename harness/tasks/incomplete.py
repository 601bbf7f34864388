"""Samples that lack modalities by nature: which ones each sample came with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attacks.errors import BadInput, shown
from harness.tasks.batch import Batch
from harness.tasks.tensors import mask_tensor, pieces


def presence(inputs: Mapping[str, Tensor], given: Any) -> Tensor | None:
    """Which modalities each sample came with, bool (N, M) in the order of the inputs; None where
    every sample came with all.

    Args:
        inputs: (N, ...) each. A sample whose values are all NaN came without that modality.
        given: bool (N, M), or for some modalities by name (N,); None: only NaN marks what is
            absent.

    Raises:
        BadInput: another shape, or a name that no modality has.
    """
    there = torch.stack([~_all_nan(x) for x in inputs.values()], 1)
    there &= _given(inputs, given, tuple(there.shape))
    return None if bool(there.all()) else there


def _all_nan(x: Tensor) -> Tensor:
    if not x.is_floating_point() or not x.numel():  # a modality without values lacks nothing
        return torch.zeros(len(x), dtype=torch.bool)
    wide = x.unsqueeze(-1).flatten(1)  # also (N,), which the modality refuses later
    return torch.cat([wide[rows].isnan().all(1) for rows in pieces(wide)])


def _given(inputs: Mapping[str, Tensor], given: Any, shape: tuple[int, ...]) -> Tensor:
    if given is None:
        return torch.ones(shape, dtype=torch.bool)
    if not isinstance(given, Mapping):
        mask = mask_tensor("present", given)
        if tuple(mask.shape) != shape:
            raise BadInput(
                f"present has shape {tuple(mask.shape)}: give {shape}, a column for each of {', '.join(inputs)}"
            )
        return mask
    columns = []
    for name, x in inputs.items():
        mask = mask_tensor(f"present of {name!r}", given[name]) if name in given else torch.ones(len(x)).bool()
        if tuple(mask.shape) != (len(x),):
            raise BadInput(f"present of {name!r} has shape {tuple(mask.shape)}: give one value per sample, ({len(x)},)")
        columns.append(mask)
    return torch.stack(columns, 1)


def opened(values: Any) -> Any:
    """Masked arrays whose samples are masked as a whole, and lists with None for samples, with NaN
    there; all other values as they are.
    """
    if isinstance(values, np.ma.MaskedArray) and values.ndim > 1:
        rows = np.ma.getmaskarray(values).reshape(len(values), -1)
        whole = np.asarray(rows.all(1))
        if not whole.any() or (rows & ~whole[:, None]).any():
            return values
        plain = np.ma.getdata(values).astype(np.result_type(values.dtype, np.float32))
        plain[whole] = np.nan
        return plain
    if isinstance(values, list | tuple) and any(each is None for each in values):
        like: Any = next((each for each in values if each is not None), 0.0)
        lost = np.full(np.shape(like), np.nan, np.float32)
        return [
            each if each is not None else torch.from_numpy(lost) if isinstance(like, Tensor) else lost
            for each in values
        ]
    return values


def check_present(task: str, split: str, batch: Batch, names: Sequence[str], required: Sequence[str]) -> None:
    """Refuse a mask of another shape, and a test sample without any modality; in training a
    schedule may take all of them away.

    Raises:
        BadInput: naming the split, and the sample; or a sample lacks a modality that the task
            requires.
    """
    mask, shape = batch.present, (len(batch), len(names))
    if mask is None:
        return
    if mask.dtype != torch.bool or tuple(mask.shape) != shape:
        raise BadInput(
            f"present of split {split!r} of task {task!r} has shape {tuple(mask.shape)} of {mask.dtype}: give bool"
            f" {shape}, a column for each of {', '.join(names)}"
        )
    if split == "test":
        refuse_empty(f"split {split!r} of task {task!r}", batch)
    for name in required:
        if not bool((there := mask[:, names.index(name)]).all()):
            sample = batch.samples[int((~there).nonzero()[0])]
            raise BadInput(
                f"sample {shown(sample)} in split {split!r} of task {task!r} lacks {name}, which the task requires:"
                " leave the sample out"
            )


def refuse_empty(where: str, batch: Batch) -> None:
    """Refuse a sample without any modality.

    Raises:
        BadInput: naming the sample, and `where` it is.
    """
    if batch.present is not None and not bool(batch.present.any(1).all()):
        sample = batch.samples[int((~batch.present.any(1)).nonzero()[0])]
        raise BadInput(f"sample {shown(sample)} in {where} has no modality at all: leave it out")
