"""The report as Markdown, and what it says of a run that an earlier version began."""

import shutil
from pathlib import Path

import pytest

from harness.analysis.class_tables import class_tables
from harness.commands.filecheck import file_faults
from harness.reporting.report import as_markdown, render
from harness.run.directory import RunDirectory
from harness.storage.tensorfile import from_bytes, to_bytes
from tests.app.conftest import open_page
from tests.harness.tasks.problems.drawn_runs import kept


def test_metrics_of_classes_stand_in_markdown() -> None:
    directory = RunDirectory(str(kept("maps")))
    (table,) = class_tables(directory.notes.metrics())
    lines = as_markdown(directory).splitlines()
    for name, values in table.rows.items():
        written = ["-" if value is None else f"{value:.3f}" for value in values]
        assert f"| `{name}` | {' | '.join(written)} |" in lines
    assert f"| `class` | {' | '.join(f'`{column}`' for column in table.columns)} |" in lines


def test_answers_that_an_earlier_version_did_not_keep_are_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(kept("maps"), tmp_path / "runs" / "run")
    for file in (run / "witnesses").iterdir():
        held = {key: x for key, x in from_bytes(file.read_bytes()).items() if not key.startswith(ANSWERS)}
        file.write_bytes(to_bytes(held))
    directory = RunDirectory(str(run))
    assert not file_faults(directory)
    assert "The answers are not shown: they were not kept" in render(directory)
    test = open_page(monkeypatch, run.parent, "samples")
    assert not test.exception and "The answers were not kept" in " ".join(each.value for each in test.info)


ANSWERS = ("target|", "untouched|", "answer|")
