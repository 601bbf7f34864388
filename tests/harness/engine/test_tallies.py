"""Long tallies lie in a table of their own and change no number."""

from pathlib import Path

import pytest
import torch

from attacks.errors import BadInput
from harness.commands.filecheck import file_faults
from harness.engine.judged import judged_rows, taken_out
from harness.engine.set_metrics import set_metrics
from harness.run.directory import RunDirectory
from harness.storage.parquet import encoded
from harness.tasks import MultiLabel
from harness.tasks.problems.problem import MOST_TALLIED
from tests.commandline import run
from tests.harness.tasks.problems.linear_file import FILE
from tests.harness.tasks.problems.linear_tasks import TASKS

RUN = ("evaluate", "--task", "my.py:task", "--model", "my.py:build", "--search", "fast", "--no-trust", "--repeats", "1")


def evaluated(monkeypatch: pytest.MonkeyPatch, name: str) -> RunDirectory:
    Path("my.py").write_text(FILE.format(name=name))
    assert run(monkeypatch, *RUN, "--samples", "6", "--batch-size", "4", "--out", name) == 0
    return RunDirectory(name)


class Long(MultiLabel):
    """As `MultiLabel`, with more numbers."""

    def tally(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.arange(float(self.labels)).expand(len(outputs), -1)


@pytest.mark.parametrize("width", [1, 256, 257, 1000])
def test_a_long_tally_is_taken_out_of_its_row(width: int) -> None:
    rows = judged_rows(Long(width), torch.zeros(2, width), torch.zeros(2, width, dtype=torch.long))
    named = {"samples": [{**row, "sample": f"{at}"} for at, row in enumerate(rows)]}
    apart = list(taken_out(named))
    assert [row["tally"] for row in named["samples"]] == [None if width > 256 else list(map(float, range(width)))] * 2
    assert [list(row["tally"]) for row in apart] == ([list(map(float, range(width)))] * 2 if width > 256 else [])
    assert [(row["sample"], row["table"]) for row in apart] == ([("0", "samples"), ("1", "samples")] if apart else [])


def test_a_tally_beyond_the_limit_is_refused() -> None:
    width = MOST_TALLIED + 1
    with pytest.raises(BadInput, match="at most 65536"):
        judged_rows(Long(width), torch.zeros(2, width), torch.zeros(2, width, dtype=torch.long))


def test_metrics_do_not_depend_on_where_tallies_lie(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = (evaluated(monkeypatch, name).notes.metrics() for name in ("labels", "long-labels"))
    assert short == long and {each.kind for each in long} == {"clean", "schedule", "attacked"}


def test_features_of_a_wide_extractor_are_compared_under_every_condition(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = evaluated(monkeypatch, "features")
    found = [each for each in directory.notes.metrics() if each.metric == "kid_levels"]
    assert {each.kind for each in found} == {"clean", "schedule", "attacked"}
    clean = next(each.value for each in found if each.kind == "clean")
    assert max(each.value for each in found if each.kind == "attacked") > clean

    part, others = directory.tables.parts("tallies")[0], directory.tables.parts("tallies")[1:]
    table = directory.tables.part("tallies", part)
    assert others, "several cells"
    Path(f"features/tallies/{part}.parquet").write_bytes(encoded(table.slice(1)))
    assert any("lacks the tally of sample" in fault for fault in file_faults(directory))
    with pytest.raises(BadInput, match="lacks the tally of sample"):
        set_metrics(TASKS["features"](), directory)
    Path(f"features/tallies/{part}.parquet").unlink()
    assert any("is lost" in fault for fault in file_faults(directory))
