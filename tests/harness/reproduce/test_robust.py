"""How robustness is told: systems are compared at a strength at which something is left of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from harness.engine.loading import load_task
from harness.reproduce import robust
from harness.reproduce.fusion import FUSION
from harness.reproduce.page import Page
from harness.reproduce.results import Results

SINGLE = "image@linf:1.6"
SETTING = FUSION.settings["digits"]


class Given(Results):
    """Results with critical strengths (seeds, samples) that are given, the same under every
    scenario.
    """

    def __init__(self, given: Mapping[str, np.ndarray]) -> None:
        super().__init__(SETTING, load_task("digits"), [])
        self.given = given

    @property
    def effort(self):  # type: ignore[no-untyped-def]
        return SETTING.effort

    def scores(self, system: str, condition: str = "clean") -> np.ndarray:
        return (self.given[system] > (0 if condition == "clean" else 1)).astype(float)

    def strengths(self, system: str, scenario: str) -> np.ndarray:
        return self.given[system]


WEAK = np.tile(np.linspace(0, 0.2, 101), (2, 1))
FIRM = np.tile(np.linspace(0.3, 3, 101), (2, 1))
made = Given({"weak": WEAK, "firm": FIRM, "wrong": np.zeros((2, 101))})


def test_half_withstand_the_strength_that_tells() -> None:
    assert robust.comparison_strengths(made, "weak")[SINGLE] == pytest.approx(0.101)
    assert robust.comparison_strengths(made, "firm")[SINGLE] == 1, "not beyond the radius as written"
    assert robust.comparison_strengths(made, "wrong")[SINGLE] == 1, "of what is never right nothing can fall"


def test_compared_where_something_is_left() -> None:
    assert robust.compared(made, "firm", "weak", SINGLE, 0.101).value == pytest.approx(0.5, abs=0.01)
    assert robust.compared(made, "weak", "wrong", SINGLE, 1.0).value == 0


def test_curves_start_at_the_clean_score_and_fall() -> None:
    figure = robust.curves(made, ["weak", "firm"], [SINGLE])
    weak, firm = (np.array(trace.y) for trace in figure.data)
    assert weak[0] == pytest.approx(100 / 101) and firm[0] == 1
    assert (np.diff(weak) <= 0).all() and (np.diff(firm) <= 0).all() and weak[-1] == 0 < firm[-1]


def test_the_tables_hold_every_scenario(tmp_path: Path) -> None:
    page = Page(tmp_path / "x.md")
    robust.write(made, ["weak", "firm", "wrong"], page)
    scores, medians = (part.splitlines() for part in page.parts if part.startswith("|"))
    assert len(scores) == len(medians) == 5
    assert scores[2].startswith("| weak | 0.990 ± 0.000 | 0.000 ± 0.000") and medians[4].startswith("| wrong | - ")
    assert "0.101" in medians[2] and "1.650" in medians[3]
