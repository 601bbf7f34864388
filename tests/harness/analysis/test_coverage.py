"""Law 16, on the grid of docs/statistics.md: a 95 % interval covers 93 % or more, and a test fails
falsely in 5 % or less.

A gate passes wrongly, with a drop as large as it claims to notice, in 20 % or less.
"""

from __future__ import annotations

import pytest

from benchmarks.coverage import FEWER, Cell, grid

COVERED, FAILED, PASSED = 0.93, 0.05, 0.20
SLACK = 3  # standard errors, where outcomes are drawn; 0 where they are summed


def faults(cells: list[Cell]) -> list[str]:
    """The cells that cover too little or fail too often."""
    found = []
    for cell in cells:
        most = {"failed": FAILED, "passed": PASSED}.get(cell.what.split()[0])
        excess = COVERED - cell.share if most is None else cell.share - most
        if excess > SLACK * cell.error + 1e-9:
            found.append(f"{cell.what}, {cell.where}: {cell.share:.4f}")
    return found


def test_a_few_places_of_the_grid() -> None:
    assert faults(list(grid(*FEWER))) == []


@pytest.mark.slow
def test_the_whole_grid() -> None:
    assert faults(list(grid())) == []
