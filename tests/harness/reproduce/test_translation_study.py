"""The study of translation: which task needs `--full`, and what decides whether CEN is better."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.reproduce import studies, translation
from harness.reproduce.page import Page
from harness.reproduce.results import Results
from harness.reproduce.setting import Setting
from harness.reproduce.study import Study
from harness.reproduce.translation import CEN, KID, TRANSLATION


class Known(Results):
    """Systems whose KID over seeds is known."""

    def __init__(self, given: Mapping[str, tuple[float, ...]]) -> None:
        systems = tuple(each for each in TRANSLATION.settings["shade-texture"].systems if each.name in given)
        super().__init__(Setting("rooms-shade-texture", systems), None, ())  # type: ignore[arg-type]
        object.__setattr__(self, "given", given)

    def metric(self, system: str, name: str) -> np.ndarray:
        assert name == KID
        return np.array(self.given[system])  # type: ignore[attr-defined]


def test_cen_is_better_only_by_more_than_the_spread_over_seeds() -> None:
    near, far = "concat, all layers", "shade only"
    known = Known({CEN.name: (0.010, 0.012, 0.014), near: (0.012, 0.013, 0.014), far: (0.10, 0.10, 0.10)})
    assert translation._verdict(known) == (
        "CEN's KID is below that of 1 of 2 systems by more than the largest spread over seeds (0.20); not below"
        f" {near}."
    )


def test_one_seed_decides_nothing() -> None:
    known = Known({CEN.name: (0.01,), "shade only": (0.1,)})
    assert translation._verdict(known) == "One seed has no spread, so nothing is decided."


def test_the_longest_setting_waits_for_full(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    setting = TRANSLATION.settings["depth-normal"]
    assert setting.full and not TRANSLATION.settings["shade-texture"].full
    monkeypatch.setattr(studies, "STUDIES", {"long": Study("long", {"second": setting}, lambda results, page: None)})
    with pytest.raises(studies.BadInput, match="second is left out: --full runs it"):
        studies.reproduce(studies.ReproduceOptions("long", jobs=1), Console(file=io.StringIO()))


def test_the_lecture_s_numbers_stand_with_what_makes_them_incomparable(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.md")
    TRANSLATION.write({}, page)
    text = "\n".join(page.parts)
    assert "not comparable" in text and "62.63 / 1.65" in text
