"""Pages show graded answers at the threshold that is chosen, reports the scores at each."""

import math

import pytest

from harness.analysis.curves import WITHSTOOD, WORST_KNOWN
from harness.analysis.summary import AT_THRESHOLDS, summarise
from harness.reporting.report import as_markdown, render
from harness.run.directory import RunDirectory
from tests.app.conftest import Opened, words
from tests.harness.tasks.problems.drawn_runs import kept
from tests.harness.tasks.problems.linear_tasks import TASKS

THRESHOLDS: tuple[float, ...] = TASKS["maps"]().problem.thresholds  # type: ignore[attr-defined]


@pytest.mark.parametrize("threshold", [None, *map(str, THRESHOLDS)])
def test_a_page_shows_the_ledger_at_the_chosen_threshold(threshold: str | None, opened: Opened) -> None:
    ledger = RunDirectory(str(kept("maps"))).table("ledger").to_pylist()
    scenario = ledger[-1]["scenario"]
    asked = {"threshold": threshold} if threshold else {}
    at = float(threshold) if threshold else THRESHOLDS[0]
    test = opened(kept("maps").parent, "samples", scenario=scenario, **asked)
    assert not test.exception and not test.error
    table = test.dataframe[0].value
    own = {row["sample"]: row for row in ledger if row["scenario"] == scenario and row["threshold"] == at}
    assert len(table) == len(own) and all(
        math.isclose(row["strength"], own[row["sample"]]["strength"])
        and row["answer attacked"] == own[row["sample"]]["label"]
        for _, row in table.iterrows()
    )
    worst = opened(kept("maps").parent, "worst", scenario=scenario, **asked)
    assert not worst.exception and not worst.error and f"below {at:g} of its untouched score" in words(worst)


def test_a_threshold_that_a_run_does_not_have_is_one_sentence(opened: Opened) -> None:
    test = opened(kept("maps").parent, "samples", threshold="0.123")
    assert not test.exception and "Threshold '0.123', which this address names, is not in this run" in words(test)


def test_right_or_wrong_answers_have_no_threshold_to_choose(opened: Opened) -> None:
    test = opened(kept("values").parent, "samples")
    assert not test.exception and not test.error and "Threshold" not in [each.label for each in test.sidebar.selectbox]
    notes = summarise(RunDirectory(str(kept("values")))).notes
    assert AT_THRESHOLDS not in notes
    assert notes[0].startswith(f"Robust scores are {WITHSTOOD} up to strength 1") and "Clopper-Pearson" in notes[0]


def test_reports_have_the_share_that_has_not_failed_at_each_threshold() -> None:
    directory = RunDirectory(str(kept("maps")))
    summary, ledger = summarise(directory), directory.table("ledger").to_pylist()
    for threshold in THRESHOLDS:
        section = f"not failed at threshold {threshold:g}, strength 1"
        for scenario, shares in summary.sections[section].items():
            rows = [row for row in ledger if (row["scenario"], row["threshold"]) == (scenario, threshold)]
            (share,) = shares.values()
            assert share.value == sum(row["strength"] > 1 for row in rows) / len(rows)
        assert section in render(directory) and section in as_markdown(directory)
    assert AT_THRESHOLDS in summary.notes
    assert summary.notes[0].startswith(f"Robust scores are {WORST_KNOWN} up to") and "BCa" in summary.notes[0]


@pytest.mark.parametrize(("problem", "what"), [("maps", WORST_KNOWN), ("values", WITHSTOOD)])
def test_the_page_explains_what_a_robust_score_is(opened: Opened, problem: str, what: str) -> None:
    test = opened(kept(problem).parent, "worst")
    assert not test.exception and f"A robust score is {what}" in words(test)
