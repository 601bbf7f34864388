"""Runs from elsewhere in the dashboard: code runs where a person has agreed to that code, and
nothing leaks out of a run.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from streamlit.testing.v1 import AppTest

from harness.storage.tensorfile import from_bytes, to_bytes
from harness.tasks.files.dataroot import VARIABLE
from tests.app.conftest import JOINT, Opened, words
from tests.fuzz.tensor_mutations import agree
from tests.runfile import rewrite

CODE = """
from pathlib import Path
from harness.engine.loading import load_task
Path({trace!r}).touch()
def task(): return load_task("digits")
"""


def renamed(run: Path, **changed: Any) -> None:
    """Change a value in the configuration of a run, in every place that holds it."""

    def change(content: dict[str, Any]) -> None:
        for config in (content["config"], content["identity"]["config"]):
            config.update(changed)

    rewrite(run, change)


@pytest.fixture
def two(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, `first` and `second`, whose task is the same file of a folder that one stands
    in.
    """
    monkeypatch.chdir(tmp_path)
    renamed(copied / "first", task="mine.py:task")
    shutil.copytree(copied / "first", copied / "second")
    return copied


def written(trace: Path) -> None:
    trace.unlink(missing_ok=True)
    Path("mine.py").write_text(CODE.format(trace=str(trace)))


def agreed(test: AppTest) -> AppTest:
    """Answer the page's only question with yes."""
    (toggle,) = [each for each in test.toggle if each.label == "Run it and show the inputs"]
    assert not toggle.value
    return toggle.set_value(True).run()


def test_consent_is_for_one_run_and_what_its_file_holds(two: Path, tmp_path: Path, opened: Opened) -> None:
    trace = tmp_path / "ran"
    written(trace)
    test = opened(two, "samples", run="first", model="concat", scenario=JOINT)
    assert "only if you trust the code" in words(test) and not trace.exists()
    test = agreed(test)
    assert trace.exists() and "Inputs" in [each.value for each in test.subheader]
    trace.unlink()
    test.selectbox(key="run").select("second").run()
    assert not trace.exists() and "Inputs" not in [each.value for each in test.subheader], (
        "another run is another question"
    )
    test = agreed(test)
    assert "Inputs" in [each.value for each in test.subheader]
    test.selectbox(key="run").select("first").run()
    Path("mine.py").write_text(Path("mine.py").read_text() + f"\nPath({str(tmp_path / 'changed')!r}).touch()\n")
    test.run()
    assert "Inputs" not in [each.value for each in test.subheader] and not (tmp_path / "changed").exists(), (
        "the file is another"
    )


HOSTILE = [
    "my.py:T; rm -rf ~",
    "$(touch owned)",
    "`touch owned`",
    "a b:c",
    "x' && touch owned '",
    'x"; touch owned; "',
    "--out=/",
    "\n touch owned",
    "x|y",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_page_proposes_to_run_is_one_command(copied: Path, opened: Opened, text: str) -> None:
    """Words of a run, and its address, are words of the command, however a shell reads them."""
    renamed(copied / "first", task=text)
    for part in ("witnesses", "attributions"):
        shutil.rmtree(copied / "first" / part)
    folder = copied.parent / "it's a $(folder); x"
    copied.rename(folder)
    for page in ("samples", "trust"):
        if page == "trust":
            (folder / "first" / "gates.json").unlink()
        test = opened(folder, page)
        assert not test.exception and test.code, words(test)
        for each in test.code:
            said = shlex.split(each.value)
            assert said[:3] == ["python", "-m", "harness"] and (text in said or str(folder / "first") in said)


def test_where_a_run_had_its_data_never_enters_the_environment(
    copied: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = dict(os.environ)
    renamed(copied / "first", data_root=str(tmp_path / "theirs"))
    for page in ("samples", "worst", "overview"):
        assert not opened(copied, page).exception
    assert VARIABLE not in os.environ and {key: os.environ.get(key) for key in before} == before


SHAPES = {
    "another axis": lambda x: x[None],
    "no axis": lambda x: x.sum(),
    "nothing": lambda x: x.flatten()[:0],
    "flat": lambda x: x.flatten(),
    "longer": lambda x: torch.cat([x, x]),
    "whole numbers": lambda x: x.long(),
    "complex": lambda x: x.to(torch.complex64),
    "five axes": lambda x: x.reshape(1, 1, 1, 1, -1),
    "not a number": lambda x: x * torch.nan,
    "infinite": lambda x: x + torch.inf,
}


@pytest.mark.parametrize("change", SHAPES)
def test_tensors_of_another_shape_or_type_are_a_sentence(copied: Path, opened: Opened, change: str) -> None:
    """Witnesses, also those that the ledger names, and attributions."""
    run = copied / "first"
    for file in [*(run / "witnesses").iterdir(), *(run / "attributions").glob("*.safetensors")]:
        held = {key: SHAPES[change](x).clone() for key, x in from_bytes(file.read_bytes()).items()}
        file.write_bytes(to_bytes(held))
        if (part := run / "ledger" / f"{file.stem}.parquet").exists() and file.parent.name == "witnesses":
            agree(part, held)
    explained = pq.read_table(next((run / "attributions").glob("*.parquet")))["sample"][0].as_py()
    test = opened(copied, "samples", model="concat", scenario=JOINT, sample=explained)
    assert not test.exception, test.exception[0].value
    assert "has another shape or type than the sample, or is not finite" in words(test)
