"""A frontier is five scenarios between two modalities; its middle ray is the two at their own
radii.
"""

from pathlib import Path

import pytest

from attacks.errors import BadInput
from attacks.scenario import parse
from harness.engine.frontier import rays
from harness.run.directory import RunDirectory
from harness.tasks import Task
from tests.commandline import own_folder, run


def test_five_rays(digits: Task) -> None:
    found = rays("image,audio", digits)
    ratios = [s.attacked[0].radius / s.attacked[1].radius / (0.005 / 1.6) for s in found]
    assert ratios == pytest.approx([0.25, 0.5, 1, 2, 4])
    assert found[2] == parse("image@linf:1.6 + audio@linf:0.005")
    assert found[2] > found[1] and found[2] > found[3], "the middle ray allows what its neighbours do"


@pytest.mark.parametrize(
    ("text", "message"),
    [("image", "two different"), ("image,image", "two different"), ("image,sound", "unknown modality 'sound'")],
)
def test_bad_frontiers(digits: Task, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        rays(text, digits)


def test_from_the_command_line(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_folder(elsewhere)
    toy = [
        "--task",
        "my.py:MyTask",
        "--model",
        "my.py:build",
        "--samples",
        "6",
        "--schedule",
        "mcar:0",
        "--search",
        "fast",
        "--out",
        "run",
    ]
    assert run(monkeypatch, "evaluate", *toy, "--frontier", "image,sensor") == 0
    rows = RunDirectory("run").table("ledger").to_pylist()
    strengths = {
        name: {row["sample"]: row["strength"] for row in rows if row["scenario"] == name}
        for name in {r["scenario"] for r in rows}
    }
    both = [name for name in strengths if "+" in name]
    assert len(both) == 5
    middle = next(name for name in both if all(parse(other) <= parse(name) for other in both))
    for other in both:
        assert all(strengths[middle][sample] <= strength for sample, strength in strengths[other].items())
    assert run(monkeypatch, "report", "run") == 0
