"""Grids of numbers: one content in every width, order and format is one tensor; what holds more is
refused.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from attacks.errors import BadInput
from harness.tasks.files.grids import grid_of

GRID = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", ">f8", "<f2", ">f2", "longdouble"])
def test_grids_of_any_width_and_order_are_one(kind: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(GRID.astype(kind)))
    assert torch.equal(grid_of(tmp_path / "a"), torch.tensor(GRID))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_grids_in_safetensors_of_any_width_are_one(kind: torch.dtype, tmp_path: Path) -> None:
    save_file({"grid": torch.tensor(GRID).to(kind)}, tmp_path / "a.safetensors")
    assert torch.equal(grid_of(tmp_path / "a"), torch.tensor(GRID))


def test_grids_that_hold_more_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GRID)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes() + b"more")
    np.save(tmp_path / "b.npy", GRID * 1j)
    np.save(tmp_path / "c.npy", GRID.astype(float) * 1e300)
    (tmp_path / "d.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:-8])
    for name, said in (
        ("a", "more behind its array"),
        ("b", "complex"),
        ("c", "beyond float32"),
        ("d", "cannot be read"),
    ):
        with pytest.raises(BadInput, match=rf"{name}\.npy .*{said}"):
            grid_of(tmp_path / name)
