"""`report` reads each part of a table once, and shows the same as readers of the whole run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from harness.analysis.summary import MEASURED, SUMMARISED
from harness.commands.evaluate import evaluate
from harness.commands.report import report
from harness.reporting.report import as_markdown, reading, render
from harness.reporting.sample_gallery import shown_samples
from harness.run.config import Evaluation
from harness.run.directory import RunDirectory
from harness.storage.folder import Storage
from tests.harness.tasks.problems.drawn_runs import kept

OUTPUTS = {
    "the page": (None, None),
    "the page elsewhere": ("page.html", None),
    "Markdown": (None, "-"),
    "Markdown in a file": (None, "tables.md"),
    "both": ("page.html", "tables.md"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two models in four parts, each with witnesses."""
    run = tmp_path_factory.mktemp("reads") / "run"
    options = {"samples": 4, "batch_size": 2, "search": "fast", "schedule": ("mcar:0,0.5",), "repeats": 1}
    config = Evaluation(model=("concat", "late"), witnesses="all", trust=False, out=str(run), **options)
    assert evaluate(config, Console(quiet=True)) == 0
    return run


@pytest.fixture(params=["right or wrong", "graded"])
def run(request: pytest.FixtureRequest, made: Path) -> Path:
    return made if request.param == "right or wrong" else kept("maps")


@pytest.mark.parametrize("html, markdown", OUTPUTS.values(), ids=OUTPUTS)
def test_each_part_of_a_table_is_read_once(
    html: str | None, markdown: str | None, run: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    read = Storage.read

    def counted(storage: Storage, name: str) -> bytes:
        counts[name] += name.endswith(".parquet")
        return read(storage, name)

    monkeypatch.setattr(Storage, "read", counted)
    report(str(run), html, markdown, Console(quiet=True))
    parts = [f"{table}/{part.name}" for table in SUMMARISED for part in (run / table).glob("*.parquet")]
    assert +counts == dict.fromkeys(parts, 1)


def test_it_shows_what_the_whole_run_shows(run: Path) -> None:
    whole, once = RunDirectory(str(run)), reading(str(run), page=True)
    assert as_markdown(once) == as_markdown(whole)
    assert [(each.row, each.witness.keys()) for each in shown_samples(once)] == [
        (each.row, each.witness.keys()) for each in shown_samples(whole)
    ]
    assert len(render(once)) == len(render(whole))


def test_the_summary_has_the_columns_of_the_measures() -> None:
    assert all(set(columns) <= set(SUMMARISED[table]) for table, columns in MEASURED.items())
