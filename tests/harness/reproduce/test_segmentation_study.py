"""The study of segmentation: branches are read from one checkpoint, and verdicts follow from the
intervals.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.reproduce import campaign, studies
from harness.reproduce.conditions import verdict
from harness.reproduce.page import Page
from harness.reproduce.results import Results
from harness.reproduce.segmentation import ASYMFUSION, CEN, EARLY, LATE, RIVALS, SEGMENTATION
from harness.reproduce.setting import Effort, Setting, System, reading
from harness.reproduce.study import Study
from harness.run.set_metrics import CLEAN

TINY = Effort(seeds=(0,), epochs=1, samples=8, learnt_from=16, attack="cospgd?steps=2")
DEPTH = "depth@linf:0.1"


@pytest.mark.slow
def test_branches_are_read_from_one_checkpoint(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    """The network is trained once, and the record holds the metric under every condition."""
    trained: list[str] = []
    train = campaign.train
    monkeypatch.setattr(
        campaign, "train", lambda training, console: (trained.append(training.model), train(training, console))[1]
    )
    found: dict[str, Results] = {}
    setting = Setting("rooms", (System("CEN", "cen", "cen", reads=("rgb",)),), TINY, "miou")
    monkeypatch.setattr(
        studies, "STUDIES", {"maps": Study("maps", {"rooms": setting}, lambda results, page: found.update(results))}
    )
    studies.reproduce(studies.ReproduceOptions("maps", jobs=1), Console(file=io.StringIO()))
    assert trained == ["cen"]
    result, branch = found["rooms"], reading("CEN", "rgb")
    for row in ("CEN", branch):
        for condition in (CLEAN, DEPTH, "missing depth"):
            assert result.measured(row, condition).shape == (1, 8)
        card = result.metrics(row, "exchanged ")
        assert card and "exchanged 1.1 rgb" in card
    missing = result.measured(branch, "missing depth").mean()
    assert missing == pytest.approx(result.measured("CEN", "missing depth").mean(), abs=1e-6), "one branch is left"
    whole, read = result.trials
    assert read.model == f"harness.models.dense.cen:cen?read=rgb@{whole.checkpoint}" and whole.model in read.model


class Known(Results):
    """Systems of known mean IoU on 200 rooms, which vary alike."""

    def __init__(self, given: Mapping[str, float]) -> None:
        super().__init__(SEGMENTATION.settings["rooms"], None, ())  # type: ignore[arg-type]
        object.__setattr__(self, "given", given)

    def measured(self, system: str, condition: str = CLEAN) -> np.ndarray:
        rng = np.random.RandomState(len(system))
        return self.given[system] + 0.1 * rng.randn(3, 200)  # type: ignore[attr-defined, no-any-return]


def test_the_verdict_follows_from_the_intervals() -> None:
    scores = {each.name: 0.6 for each in RIVALS} | {CEN.name: 0.8, ASYMFUSION.name: 0.6, EARLY.name: 0.9}
    known, wanted = Known(scores), ("rgb only", LATE.name, EARLY.name)
    assert verdict(known.measured, CEN.name, wanted) == (f"CEN is above rgb only and {LATE.name}; below {EARLY.name}.")
    assert "not distinguishable from" in verdict(known.measured, ASYMFUSION.name, wanted)


def test_the_lecture_s_numbers_stand_with_what_makes_them_incomparable(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.md")
    SEGMENTATION.write({}, page)
    text = "\n".join(page.parts)
    assert "not comparable" in text and "77.7 / 65.0 / 52.5" in text
