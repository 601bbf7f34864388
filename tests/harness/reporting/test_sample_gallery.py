"""The report shows some samples as they failed, and runs no code that only a run names."""

import base64
import io
import re
import shutil
from pathlib import Path

import pytest
import soundfile
import torch
from rich.console import Console

from attacks.errors import BadInput
from harness.commands.evaluate import evaluate
from harness.reporting.report import render
from harness.reporting.sample_gallery import drawings, shown_samples, untouched
from harness.run.config import Evaluation
from harness.run.directory import RunDirectory
from harness.storage.tensorfile import from_bytes, to_bytes
from harness.tasks import Task
from tests.fuzz.tensor_mutations import agree
from tests.runfile import rewrite

JOINT = "audio@linf:0.005 + image@linf:1.6 + text@tokens:1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("gallery") / "run"
    config = Evaluation(
        model=("concat", "late"),
        samples=6,
        batch_size=3,
        search="fast",
        schedule=("mcar:0",),
        repeats=1,
        witnesses="all",
        trust=False,
        out=str(run),
    )
    assert evaluate(config, Console(quiet=True)) == 0
    return run


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(made, tmp_path / "run").as_posix())


def test_each_model_shows_what_failed_soonest_under_the_largest_scenario(made: Path) -> None:
    directory = RunDirectory(str(made))
    found = shown_samples(directory)
    ledger = [row for row in directory.table("ledger").to_pylist() if row["scenario"] == JOINT and row["strength"] > 0]
    assert [each.row["model"] for each in found] == ["concat", "late"]
    for each in found:
        assert each.row["strength"] == min(row["strength"] for row in ledger if row["model"] == each.row["model"])
        assert each.row["scenario"] == JOINT and set(each.witness) == {"image", "audio", "text"}


def test_what_is_drawn_is_the_sample_and_its_witness(made: Path, digits: Task) -> None:
    directory = RunDirectory(str(made))
    drawn, first = list(drawings(directory)), shown_samples(directory)[0]
    clean = untouched(digits, first.row["sample"], None)
    picture = next(each.figure for each in drawn if each.figure)
    for trace, x in zip(picture.data[:2], (clean["image"], first.witness["image"]), strict=True):
        assert torch.equal(torch.tensor(trace.z).reshape(x.shape), x)
    waves = [address.removeprefix("data:audio/wav;base64,") for each in drawn for address in each.sounds.values()]
    heard = [torch.tensor(soundfile.read(io.BytesIO(base64.b64decode(wave)), dtype="float32")[0]) for wave in waves[:2]]
    assert torch.allclose(heard[0], clean["audio"], atol=1e-4) and torch.allclose(
        heard[1], first.witness["audio"], atol=1e-4
    )
    page = render(directory)
    assert all(wave in page for wave in waves) and f"{first.row['strength']:.4g} under {JOINT}" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"?http", page) and page.count("plotly.js v") == 1, (
        "one copy of the library, and none from a network"
    )


def test_a_run_without_witnesses_shows_how_to_store_them(copied: RunDirectory) -> None:
    shutil.rmtree(f"{copied.root}/witnesses")
    assert [each for each in drawings(copied) if "no witness" in each.note and "--witnesses" in each.note]


@pytest.mark.parametrize("task", ["evil.py:task", "evil:task", "evil.py:task?x=1"])
def test_code_that_only_the_run_names_is_not_run(
    copied: RunDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, task: str
) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('run')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    rewrite(copied.root, lambda content: content["config"].update(task=task))
    (drawn,) = drawings(copied)
    assert "code that this run names" in drawn.note and not drawn.figure


def test_other_data_under_the_same_name_are_not_shown(digits: Task, copied: RunDirectory) -> None:
    name = digits.splits["test"].samples[0]
    with pytest.raises(BadInput, match="has changed since the run was made"):
        untouched(digits, name, "another")
    with pytest.raises(BadInput, match="has no sample 'nobody' here"):
        untouched(digits, "nobody", None)


OTHERWISE = {
    "another axis": lambda x: x[None],
    "no axis": lambda x: x.sum(),
    "nothing": lambda x: x.flatten()[:0],
    "flat": lambda x: x.flatten(),
    "longer": lambda x: torch.cat([x, x]),
    "whole numbers": lambda x: x.long(),
    "yes or no": lambda x: x > 0,
    "half precision": lambda x: x.half(),
    "complex": lambda x: x.to(torch.complex64),
    "not a number": lambda x: x * torch.nan,
    "infinite": lambda x: x + torch.inf,
}


@pytest.mark.parametrize("change", OTHERWISE)
def test_a_witness_of_another_shape_or_type_is_a_sentence(copied: RunDirectory, change: str) -> None:
    """Also where the ledger names it: whoever made the run made both."""
    for part in copied.cells_done():
        file, ledger = (
            Path(copied.root, "witnesses", f"{part}.safetensors"),
            Path(copied.root, "ledger", f"{part}.parquet"),
        )
        held = {key: OTHERWISE[change](x).clone() for key, x in from_bytes(file.read_bytes()).items()}
        file.write_bytes(to_bytes(held))
        agree(ledger, held)
    assert "has another shape or type than the sample, or is not finite" in render(copied)
