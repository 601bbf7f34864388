"""Runs to look at: a small real one with attributions and gates, and copies that something happened
to.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import streamlit as st
import torch
from rich.console import Console
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest

import app
from harness.commands.evaluate import evaluate
from harness.engine.loading import load_task
from harness.run.config import Evaluation

MAIN = Path(app.__file__).with_name("main.py")
PAGES = ("overview", "worst", "average", "samples", "compare", "trust")
JOINT = "audio@linf:0.005 + image@linf:1.6 + text@tokens:1"
Opened = Callable[..., AppTest]


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run of two models, `first`."""
    folder = tmp_path_factory.mktemp("runs")
    config = Evaluation(
        model=("concat", "without-image"),
        samples=6,
        search="fast",
        repeats=1,
        scenario=("image@linf:1.6", JOINT),
        frontier=("image,audio",),
        corruption=("image@noise:0,5",),
        witnesses="all",
        out=str(folder / "first"),
        device="cpu",
    )
    assert evaluate(config, Console(quiet=True)) == 0
    explain(folder / "first")
    gate = {
        "gate": "robust(image@linf:1.6) >= 0.5",
        "limit": 0.5,
        "value": 0.6,
        "low": 0.3,
        "high": 0.9,
        "verdict": "inconclusive",
        "why": "few",
    }
    (folder / "first" / "gates.json").write_text(
        json.dumps([gate, {**gate, "gate": "clean >= 0.1", "limit": 0.1, "verdict": "pass"}])
    )
    return folder


def explain(run: Path) -> None:
    """Attributions of one sample of `concat`, as a run stores them."""
    ledger = next(path for path in (run / "ledger").iterdir() if pq.read_table(path)["model"][0].as_py() == "concat")
    row = next(
        row
        for row in pq.read_table(ledger).to_pylist()
        if row["scenario"] == JOINT and 0 < row["strength"] < float("inf")
    )
    task, tensors, found = load_task("digits"), {}, []
    shapes = {"image": (1, 8, 8), "audio": (4000,), "text": (12,), "audio, log-mel": (20, 32)}
    for condition in ("clean", JOINT, "missing text"):
        for name, shape in shapes.items():
            key = f"{condition}|{row['sample']}|{name}"
            tensors[key] = torch.linspace(-1, 1, int(torch.tensor(shape).prod())).reshape(shape)
            found.append(
                _attribution(row, condition, name, "integrated gradients", key) | {"share": 1 / 3, "shapley": 0.1}
            )
    tensors["shown"] = torch.tensor([[0.1, 0.1, 0.4, 0.5, 1.0], [0.5, 0.5, 0.9, 0.8, 0.5], [0.0, 0.0, 0.0, 0.0, 0.0]])
    found.append(_attribution(row, "clean", "boxes", "shown", "shown"))
    (run / "attributions").mkdir()
    schema = pa.schema([(name, pa.float64() if name in NUMBERS else pa.string()) for name in found[0]])
    pq.write_table(pa.Table.from_pylist(found, schema), run / "attributions" / ledger.name)
    save_file(tensors, run / "attributions" / f"{ledger.stem}.safetensors")
    assert task.names == ("image", "audio", "text")


NUMBERS = {"share", "shapley", "output", "baseline", "delta"}


def _attribution(row: dict[str, object], condition: str, modality: str, method: str, key: str) -> dict[str, object]:
    shared = {name: row[name] for name in ("run", "task", "model", "sample")}
    numbers = {"share": None, "shapley": None, "output": 1.0, "baseline": 0.0, "delta": 0.01}
    return {
        **shared,
        "why": "closest",
        "condition": condition,
        "method": method,
        "modality": modality,
        **numbers,
        "tensor": key,
    }


@pytest.fixture
def copied(real: Path, tmp_path: Path) -> Path:
    """The run to do something to, `first` in a folder of its own."""
    shutil.copytree(real / "first", tmp_path / "runs" / "first")
    return tmp_path / "runs"


def open_page(monkeypatch: pytest.MonkeyPatch, folder: Path | str, page: str, **parameters: str) -> AppTest:
    """A page on a folder; the parameters are those of its address."""
    st.cache_data.clear()
    monkeypatch.setattr(sys, "argv", [str(MAIN), str(folder)])
    test = AppTest.from_file(MAIN, default_timeout=60)
    if page != "overview":
        test.run().switch_page(f"screens/{page}.py")
    for key, value in parameters.items():
        test.query_params[key] = value
    return test.run()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens a page, see `open_page`."""

    def on(folder: Path | str, page: str = "overview", **parameters: str) -> AppTest:
        return open_page(monkeypatch, folder, page, **parameters)

    return on


def words(test: AppTest) -> str:
    """All text of a page, without the escapes against Markdown."""
    kinds = (test.title, test.caption, test.info, test.warning, test.error, test.markdown, test.code)
    return "\n".join(str(each.value) for kind in kinds for each in kind).replace("\\", "").replace("\u200b", "")
