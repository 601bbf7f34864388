"""Grid features of images, as NumPy arrays or safetensors. A pickle is never loaded."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from attacks.errors import BadInput
from harness.tasks.files.dataroot import NoData
from harness.tasks.tensors import as_tensor, real_tensor


def grid_of(stem: Path) -> Tensor:
    """Features (C, H, W) of an image, float32, from ``STEM.npy`` or ``STEM.safetensors`` (one
    tensor, by any name).

    Args:
        stem: the path of the image, its suffix included or not, below the folder of features.

    Raises:
        NoData: neither file is there.
        BadInput: the file is damaged, or holds something else.
    """
    for path in (stem.with_suffix(".npy"), stem.with_suffix(".safetensors")):
        if path.is_file():
            return _checked(path, _read(path))
    raise NoData(
        f"{stem.with_suffix('.npy')} does not exist, nor does it as .safetensors: put the features of the image there"
    )


def _read(path: Path) -> Tensor:
    try:
        if path.suffix == ".npy":
            return as_tensor("its array", _read_array(path))
        tensors = load_file(path)
    except (OSError, ValueError, EOFError, TypeError, TokenError, SafetensorError) as error:
        raise BadInput(f"{path} cannot be read: {error}; save plain numbers with numpy.save or safetensors") from None
    if len(tensors) != 1:
        raise BadInput(f"{path} holds {len(tensors)} tensors: keep the one with the image's features")
    return next(iter(tensors.values()))


def _read_array(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        array: NDArray[Any] = np.load(file, allow_pickle=False)
        if file.read(1):
            raise ValueError("there is more behind its array")
    return array


def _checked(path: Path, grid: Tensor) -> Tensor:
    real = grid.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    if grid.ndim != 3 or not grid.numel() or not real or not bool(grid.isfinite().all()):
        raise BadInput(
            f"{path} is {grid.dtype} {tuple(grid.shape)}: save finite real features (channels, height, width)"
        )
    return real_tensor(f"{path}", grid)
