"""Progress: every search of a sample is reported once, as it ends."""

from pathlib import Path

import pytest

from harness.engine import progress
from tests.commandline import run
from tests.harness.tasks.problems.linear_file import FILE
from tests.harness.tasks.problems.linear_tasks import RAISES

RUN = ("evaluate", "--task", "my.py:task", "--model", "my.py:build", "--search", "fast", "--no-trust", "--samples", "4")
ONLY = ("--batch-size", "2", "--schedule", "none", "--out", "run")


@pytest.mark.parametrize(
    ("code", "ends", "exits"),
    [
        (FILE.format(name="labels"), 2 * 3, 0),  # cells, scenarios
        (FILE.format(name="maps"), 2 * 3 * 3, 0),  # cells, scenarios, thresholds
        (RAISES, None, 5),
    ],
)
def test_every_search_is_reported_as_it_ends(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, code: str, ends: int | None, exits: int
) -> None:
    (elsewhere / "my.py").write_text(code)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(progress._Lines, "advance", lambda self, steps, note: seen.append((steps, self.total)))
    assert run(monkeypatch, *RUN, *ONLY) == exits
    assert sum(steps for steps, _ in seen) == seen[0][1] == 4 * 3 * (3 if ends != 6 else 1)
    assert ends is None or sum(steps > 0 for steps, _ in seen) == ends
