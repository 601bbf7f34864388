"""Boxes are drawn where the stored answers have them, on what the model was shown."""

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import Tensor

from harness.engine.answers import ATTACKED, TARGET, UNTOUCHED, answer_keys
from harness.reporting.answers import figure_of, shown_as
from harness.reporting.boxes import counted, images_under
from harness.reporting.legend import class_colour
from harness.reporting.sample_gallery import drawings, shown_samples
from harness.run.description import AnswerForm
from harness.run.directory import RunDirectory
from tests.app.conftest import open_page
from tests.harness.tasks.problems.drawn_runs import kept
from tests.harness.tasks.problems.linear_tasks import TASKS

FORM = AnswerForm(kind="boxes", classes=["lamp", "<b>pit</b>"], confidence=0.5)
TWO = torch.tensor([[0, 0.0, 0.0, 0.5, 1.0, 0.9], [1, 0.5, 0.25, 1.0, 0.75, 0.6], [1, 0, 0, 1, 1, 0.4]])
NONE = torch.tensor([[-1.0, 0, 0, 0, 0, 0]])


def outlines(figure: go.Figure, panel: int) -> list[go.Scatter]:
    axis = "x" if panel == 0 else f"x{panel + 1}"
    return [
        each for each in figure.data if isinstance(each, go.Scatter) and each.mode == "lines" and each.xaxis == axis
    ]


def test_a_box_lies_around_its_pixels_in_the_colour_of_its_class() -> None:
    picture = go.Image(z=np.zeros((40, 80, 3), np.uint8))
    figure = figure_of(FORM, {TARGET: NONE, UNTOUCHED: TWO}, {UNTOUCHED: picture})
    lamp, pit = outlines(figure, 1)
    assert (min(lamp.x), max(lamp.x), min(lamp.y), max(lamp.y)) == (-0.5, 39.5, -0.5, 39.5)
    assert (min(pit.x), max(pit.x), min(pit.y), max(pit.y)) == (39.5, 79.5, 9.5, 29.5)
    assert [each.line.color for each in (lamp, pit)] == [class_colour(0), class_colour(1)]
    assert not outlines(figure, 0) and "confidence 0.60" in pit.hovertemplate and "<b>" not in pit.hovertemplate
    assert [each.name for each in figure.data if isinstance(each, go.Scatter) and each.showlegend] == [
        "0 lamp",
        "1 &lt;b&gt;pit&lt;/b&gt;",
    ]


@pytest.mark.parametrize(
    "x",
    [
        TWO[:, :5],
        TWO[0],
        TWO.long(),
        TWO * torch.nan,
        TWO - 3,
        TWO + torch.tensor([0.5, 0, 0, 0, 0, 0]),
        TWO + torch.tensor([2.0**40, 0, 0, 0, 0, 0]),
        TWO + torch.tensor([0.0, 0, 0, 0, 0, 1]),
    ],
)
def test_tensors_that_are_no_boxes_are_not_drawn(x: Tensor) -> None:
    assert shown_as(FORM, {UNTOUCHED: TWO, TARGET: NONE}) == "boxes"
    assert shown_as(FORM, {UNTOUCHED: TWO, ATTACKED: x}) == shown_as(FORM, {UNTOUCHED: x}) == ""


def test_the_report_draws_the_stored_boxes() -> None:
    directory = RunDirectory(str(kept("boxes")))
    (first,) = shown_samples(directory)
    (figure,) = [each.figure for each in drawings(directory) if each.figure is not None]
    form = directory.describe().answer
    assert form and form.kind == "boxes" and form.classes == ["lamp", "pit"] and form.confidence == 0.5
    for panel, name in enumerate((TARGET, UNTOUCHED, ATTACKED)):
        boxes = counted(form, first.answers[name])
        assert [each.line.color for each in outlines(figure, panel)] == [class_colour(int(box[0])) for box in boxes]
    assert len(counted(form, first.answers[UNTOUCHED])) != len(counted(form, first.answers[ATTACKED]))


def test_boxes_lie_on_the_picture_that_the_model_was_shown() -> None:
    task = TASKS["boxes"]()
    inputs = {name: x[0] for name, x in task.splits["test"].inputs.items()}
    pictures = images_under(task.modalities, inputs, {"light": 1 - inputs["light"]})
    assert np.allclose(pictures[UNTOUCHED].z, inputs["light"][0]) and np.allclose(
        pictures[TARGET].z, inputs["light"][0]
    )
    assert np.allclose(pictures[ATTACKED].z, 1 - inputs["light"][0])
    assert not images_under(TASKS["values"]().modalities, {}, {}), "no input is an image"


def test_the_page_draws_the_stored_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Path(kept("boxes"))
    row = next(each for each in RunDirectory(str(run)).ledger().to_pylist() if 0 < each["strength"] < float("inf"))
    assert answer_keys(row)[TARGET] in {key for held, _ in RunDirectory(str(run)).witnesses() for key in held}
    test = open_page(monkeypatch, run.parent, "samples", scenario=row["scenario"], sample=row["sample"])
    assert not test.exception and not test.error
    (plot,) = test.get("plotly_chart")
    assert '"lines"' in plot.proto.spec and "attacked" in plot.proto.spec
