"""Published features as arrays on disk: ``arrays.npz``, or one CSV per split and name.

A pickle is never loaded.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import BadInput
from harness.tasks.files.dataroot import NoData, data_path
from harness.tasks.files.textfiles import read_lines
from harness.tasks.tensors import native

ARCHIVE = "arrays.npz"
WRITTEN = {"train": "train", "val": "valid", "test": "test"}  # the field's word for validation

Arrays = dict[str, dict[str, NDArray[Any]]]


def split_arrays(data_set: str, names: Sequence[str]) -> Arrays:
    """For each split, an array (N, ...) of each name: from `arrays.npz` with keys such as
    ``valid_text``, else from ``valid_text.csv``.

    Raises:
        NoData: neither is there.
        BadInput: an array is missing or cannot be read, or a split's arrays differ in length.
    """
    path = data_path(data_set, ARCHIVE, f"{WRITTEN['train']}_{names[0]}.csv")
    read = _archived if path.name == ARCHIVE else _written
    arrays = {split: {name: read(path, f"{word}_{name}") for name in names} for split, word in WRITTEN.items()}
    for split, columns in arrays.items():
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise BadInput(
                f"the {WRITTEN[split]} arrays of {path.parent} differ in length, {lengths}: row i of each must be one"
                " sample"
            )
    return arrays


def one_per_row(where: str, values: NDArray[Any]) -> NDArray[Any]:
    """Labels (N,), whether they are stored as (N,), (N, 1) or (N, 1, 1).

    Raises:
        BadInput: there are several numbers per sample.
    """
    if values.size != len(values):
        raise BadInput(f"{where} have {values.size // max(1, len(values))} numbers per sample: keep one of them")
    return values.reshape(len(values))


def read_csv(path: Path) -> NDArray[Any]:
    """A table of numbers, quoted or not, without a header, (rows, columns).

    Raises:
        BadInput: it holds something else, or nothing.
    """
    lines = read_lines(path)
    try:
        table = np.loadtxt(lines, delimiter=",", quotechar='"', comments=None, ndmin=2) if lines else np.zeros((0, 0))
    except ValueError as error:
        raise BadInput(
            f"{path} is not a table of numbers: {error}; give rows of numbers with commas between, and no header"
        ) from None
    if not table.size:
        raise BadInput(f"{path} is not a table of numbers: it is empty; fetch it again")
    return table


def _written(first: Path, key: str) -> NDArray[Any]:
    path = first.with_name(f"{key}.csv")
    if not path.is_file():
        raise NoData(f"{first.parent} has {first.name} but not {path.name}: put both there")
    return read_csv(path)


def _archived(path: Path, key: str) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = list(archive)
            values: NDArray[Any] = archive[key] if key in held else np.zeros(())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"array {key!r} of {path} cannot be read: {error}; save plain numbers with numpy.savez, and no objects"
        ) from None
    if key not in held:
        raise NoData(f"{path} has no array {key!r} (it has {', '.join(held)}): add it")
    if not values.ndim or values.dtype.kind not in "fiu":
        raise BadInput(f"array {key!r} of {path} is {values.dtype} {values.shape}: save numbers, one row per sample")
    return native(f"array {key!r} of {path}", values)
