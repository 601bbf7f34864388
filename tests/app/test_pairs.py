"""The page Compare and the command `compare` give the same pair the same numbers, to the last
digit.
"""

from pathlib import Path

import numpy as np
import pytest

from app.pairs import differences
from app.runs import found
from app.screens.compare import differences_figure
from harness.gates.compare import compare
from harness.gates.evidence import Evidence
from tests.rows import IMAGE, Outcomes, make_run

NAMES = {
    "clean": "clean",
    f"{IMAGE}": IMAGE,
    "mcar at 0.5": "mcar, level 0.5",
    "image@noise at severity 3": "image@noise, level 3",
}


def outcomes(seed: int, samples: int, changed: float) -> Outcomes:
    """Yes or no untouched and attacked; graded where inputs go missing or get noisy."""
    base, own = np.random.RandomState(0), np.random.RandomState(seed)
    right = (base.rand(samples) < 0.8) ^ (own.rand(samples) < changed)
    graded = np.clip(base.rand(samples) + 0.3 * own.randn(samples) * (own.rand(samples) < changed), 0, 1)
    swept = {("mcar", 0.5): graded.tolist(), ("image@noise", 3.0): (graded**2).tolist()}
    return Outcomes(right.astype(float).tolist(), {IMAGE: (3 * own.rand(samples) * right).tolist()}, swept)


@pytest.mark.parametrize(("samples", "changed"), [(8, 0.5), (60, 0.05), (60, 0.5), (400, 0.02), (400, 0.6)])
def test_the_page_and_the_command_agree(tmp_path: Path, samples: int, changed: float) -> None:
    runs = [
        make_run(tmp_path / name, {"m": outcomes(seed, samples, changed)}) for seed, name in enumerate(("a", "b"), 1)
    ]
    command = {NAMES[each.what]: each for each in compare(*map(Evidence.of_run, runs)) if each.what in NAMES}
    page = {row["condition"]: row for row in differences(*((run, "m") for run in found([str(tmp_path)])), 1.0)}
    assert set(page) == set(command) == set(NAMES.values())
    for condition, row in page.items():
        other = command[condition]
        assert (row["change"], row["low"], row["high"]) == (other.change.value, other.change.low, other.change.high)
        assert (row["A"], row["B"]) == pytest.approx((other.before.value, other.after.value))
        assert row["change"] == pytest.approx(row["B"] - row["A"], abs=1e-9), "B less A on both"
        assert (
            (row["interval"] == "too few samples")
            == ("too few samples" in other.change.text("+"))
            == (row["low"] is None)
        )
    assert len(differences_figure(list(page.values())).data[0].x) == len(page)
