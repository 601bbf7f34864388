"""Pages show the stored answers, and the metrics of each class."""

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from streamlit.testing.v1 import AppTest

from harness.engine.answers import ATTACKED, TARGET, UNTOUCHED, answer_keys
from harness.reporting.answers import IGNORED, class_colour
from harness.run.directory import RunDirectory
from harness.storage.tensorfile import from_bytes, to_bytes
from tests.app.conftest import Opened, words
from tests.harness.tasks.problems.drawn_runs import KINDS, kept
from tests.runfile import rewrite

PLACEHOLDERS = re.compile(r"#0000[0-3][0-9]\b")  # of its theme


def numbers(value: Any) -> NDArray[Any]:
    """An array of a figure's JSON."""
    if not isinstance(value, dict):
        return np.asarray(value)
    held = np.frombuffer(base64.b64decode(value["bdata"]), np.dtype(value["dtype"]))
    return held.reshape([int(side) for side in value["shape"].split(",")]) if "shape" in value else held


def figure(test: AppTest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(test.get("plotly_chart")[0].proto.spec)
    return found


def chosen(kind: str) -> dict[str, Any]:
    """The ledger's row of a sample that fails, at the first threshold."""
    return next(row for row in RunDirectory(str(kept(kind))).ledger().to_pylist() if 0 < row["strength"] < float("inf"))


def page(opened: Opened, folder: Path, row: dict[str, Any]) -> AppTest:
    test = opened(folder, "samples", scenario=row["scenario"], sample=row["sample"])
    assert not test.exception and not test.error, (test.exception, test.error)
    return test


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_shows_the_stored_answers(kind: str, opened: Opened) -> None:
    row = chosen(kind)
    tensors = {key: x for held, _ in RunDirectory(str(kept(kind))).witnesses() for key, x in held.items()}
    test = page(opened, kept(kind).parent, row)
    drawn = figure(test)
    for number, name in enumerate((TARGET, UNTOUCHED, ATTACKED)):
        x = tensors[answer_keys(row)[name]]
        trace = drawn["data"][2 * number if kind == "sounds" else number]
        there = numbers(trace["y" if kind == "sounds" else "z"]).reshape(x.shape)
        assert np.array_equal(np.where(there == 5, 255, there) if kind == "maps" else there, x.numpy()), name
    assert not PLACEHOLDERS.search(json.dumps(drawn["data"])), "Streamlit puts other colours in the place of these"
    titles = [each["text"] for each in drawn["layout"]["annotations"]]
    assert titles[:3] == ["target", "answer untouched", "answer attacked"] and "change" in titles[3]
    assert len(test.get("audio")) == (3 if kind == "sounds" else 0)


def test_a_map_has_a_legend_of_its_classes_in_their_colours(opened: Opened) -> None:
    drawn = figure(page(opened, kept("maps").parent, chosen("maps")))
    legend = {trace["name"]: trace["marker"]["color"] for trace in drawn["data"] if trace["type"] == "scatter"}
    names = ("sky", "road", "car", "tree", "house")
    expected = {f"{at} {name}": class_colour(at) for at, name in enumerate(names)}
    assert legend == {name: expected[name] for name in legend if name in expected} | {"ignored": IGNORED}
    assert len(legend) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_without_stored_answers_is_shown_as_before(kind: str, opened: Opened, tmp_path: Path) -> None:
    """Of an earlier version: with nothing about answers in its files; or only in `run.json`."""
    run = Path(shutil.copytree(kept(kind), tmp_path / "runs" / "run"))
    for file in (run / "witnesses").iterdir():
        held = from_bytes(file.read_bytes())
        file.write_bytes(
            to_bytes({k: x for k, x in held.items() if k.split("|")[0] not in ("answer", TARGET, UNTOUCHED)})
        )
    assert "The answers were not kept" in words(page(opened, run.parent, chosen(kind)))
    rewrite(run, lambda content: content.pop("answer"))
    test = page(opened, run.parent, chosen(kind))
    assert "answers" not in words(test) and not test.get("plotly_chart"), "inputs only when they are asked for"


def test_damaged_answers_are_one_sentence(opened: Opened, tmp_path: Path) -> None:
    run = Path(shutil.copytree(kept("maps"), tmp_path / "runs" / "run"))
    for file in (run / "witnesses").iterdir():
        held = from_bytes(file.read_bytes())
        file.write_bytes(to_bytes({key: x.float() + 0.5 for key, x in held.items()}))
    assert "are not shown: they are not maps of the same size" in words(page(opened, run.parent, chosen("maps")))
    for file in (run / "witnesses").iterdir():
        file.write_bytes(b"no tensors at all")
    test = opened(run.parent, "samples", scenario=chosen("maps")["scenario"], sample=chosen("maps")["sample"])
    assert not test.exception and "is damaged: it cannot be read" in words(test)


def test_the_worst_case_has_a_table_of_classes(opened: Opened) -> None:
    test = opened(kept("maps").parent, "worst")
    assert not test.exception and not test.error
    table = test.dataframe[-1].value
    assert list(table["class"]) == ["sky", "road", "car", "tree", "house", "miou"]
    found = [
        m
        for m in RunDirectory(str(kept("maps"))).notes.metrics()
        if m.metric in ("iou car", "miou") and m.level in (0, 1)
    ]
    attacked = [m for m in found if m.kind == "attacked"]
    assert len(attacked) == 2 * (len(table.columns) - 2)
    for metric in [*attacked, *(m for m in found if m.kind == "clean")]:
        column = "clean" if metric.kind == "clean" else metric.name
        line = table[table["class"] == metric.metric.removeprefix("iou ")]
        assert line[column].item() == pytest.approx(metric.value)


def test_damaged_metrics_take_nothing_else_with_them(opened: Opened, tmp_path: Path) -> None:
    run = Path(shutil.copytree(kept("maps"), tmp_path / "runs" / "run"))
    (run / "metrics.json").write_text("[1]")
    test = opened(run.parent, "worst")
    assert "metrics.json cannot be read" in words(test) and len(test.error) == 1 and test.get("plotly_chart")
    (run / "metrics.json").unlink()
    test = opened(run.parent, "worst")
    assert not test.error and not test.dataframe


def test_an_answer_in_words_has_those_marked_that_the_attack_changed(opened: Opened) -> None:
    row = chosen("words")
    samples = RunDirectory(str(kept("words"))).table("samples").to_pylist()
    untouched = next(each["label"] for each in samples if each["sample"] == row["sample"])
    shown = [each.proto.body for each in page(opened, kept("words").parent, row).get("html")]
    attacked = next(body for body in shown if "background" in body)
    assert any(untouched in body for body in shown)
    for word in row["label"].split():
        assert (f">{word}</span>" in attacked) == (word not in untouched.split())
