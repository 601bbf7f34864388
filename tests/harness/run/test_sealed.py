"""A flipped bit, or a lost part, shows no other number and opens no gate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import harness
from attacks.errors import BadInput
from harness.run.description import Description
from harness.run.directory import RunDirectory
from harness.tasks import Segmentation, Task
from tests.runfile import rewrite

FLIPS = 60


class Echo(torch.nn.Module):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        return inputs["x"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of graded answers."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, 4, 4, generator=draws)
    targets = (x + 0.5 * torch.randn(x.shape, generator=draws)).argmax(1)
    task = Task.from_arrays({"x": x}, targets, problem=Segmentation(3, (4, 4)), splits="test", name="maps")
    out = tmp_path_factory.mktemp("made") / "run"
    options: dict[str, Any] = {"samples": 8, "search": "fast", "schedule": "none", "batch_size": 4}
    harness.evaluate(task, {"echo": Echo()}, out=str(out), scenarios=["x@linf:0.5"], **options)
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


READERS: dict[str, Callable[[RunDirectory], object]] = {
    "trust.json": lambda directory: directory.notes.trust(),
    "metrics.json": lambda directory: directory.notes.metrics(),
    "run.json": lambda directory: directory.describe().model_dump(include=set(Description.model_fields)),
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_shows_nothing_else(run: Path, name: str) -> None:
    def read() -> object:
        return READERS[name](RunDirectory(str(run)))

    file, before = run / name, read()
    content, draws = file.read_bytes(), torch.Generator().manual_seed(0)
    for _ in range(FLIPS):
        place, bit = (int(torch.randint(most, (), generator=draws)) for most in (len(content), 8))
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        file.write_bytes(changed)
        try:
            found = read()
        except BadInput as error:
            assert name in str(error)
        else:
            assert found == before, (place, bit)


def test_a_note_of_an_earlier_version_has_no_checksum(run: Path) -> None:
    before = RunDirectory(str(run)).notes.trust()
    content = json.loads((run / "trust.json").read_text())
    content["run id"] = dict(list(content["run id"].items())[:1])
    (run / "trust.json").write_text(json.dumps(content))
    assert RunDirectory(str(run)).notes.trust() == before


def test_a_lost_part_of_the_fronts_is_named(run: Path) -> None:
    lost = sorted((run / "fronts").iterdir())[0]
    lost.unlink()
    opened = harness.load(str(run))
    for read in (lambda: opened.summary, opened.curves):
        with pytest.raises(BadInput, match=rf"fronts/{lost.name} is gone; run the same command again"):
            read()


def test_a_gate_on_clean_scores_needs_the_checks_of_the_model(run: Path, tmp_path: Path) -> None:
    gates = tmp_path / "gates.yaml"
    gates.write_text("gates:\n  - {model: echo, min: 0.0}\n")
    assert harness.load(str(run)).gate(gates).code == 0
    (run / "trust.json").unlink()
    report = harness.load(str(run)).gate(gates)
    assert report.code == 4 and "the checks of trust of run" in report.verdicts[0].why


def test_a_description_of_an_earlier_version_has_no_checksum(run: Path) -> None:
    before = RunDirectory(str(run)).describe()
    content = json.loads((run / "run.json").read_text())
    assert content.pop("sha256")
    (run / "run.json").write_text(json.dumps(content))
    assert RunDirectory(str(run)).describe() == before
    (run / "run.json").write_text(json.dumps({**content, "samples": 9, "sha256": "0"}))
    with pytest.raises(BadInput, match=r"its run\.json is not what was written.*remove its key 'sha256'"):
        RunDirectory(str(run)).describe()


def test_another_first_threshold_is_refused(run: Path) -> None:
    rewrite(run, lambda content: content["identity"].update(thresholds=[0.1]))
    with pytest.raises(BadInput, match=r"names the thresholds 0\.1, and the ledger does not fit them"):
        _ = harness.load(str(run)).summary
