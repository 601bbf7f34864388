"""Answers that are boxes, drawn on the image that the model got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import plotly.graph_objects as go
import torch
from torch import Tensor

from attacks.region import Inputs
from harness.engine.answers import ATTACKED, TARGET, UNTOUCHED
from harness.reporting import images
from harness.reporting.legend import class_colour, class_name, with_legend
from harness.run.description import MOST_CLASSES, AnswerForm
from harness.tasks.modality import Modality

COLUMNS = ("class", "left", "top", "right", "bottom", "confidence")
BLANK = torch.ones(1, 48, 48)  # where there is no picture

ImageTrace: TypeAlias = go.Image | go.Heatmap


def can_be_boxes(x: Tensor) -> bool:
    """Whether a stored tensor holds rows of `COLUMNS`: classes from -1 (no box), shares of the
    image, confidences.
    """
    if x.ndim != 2 or x.shape[1] != len(COLUMNS) or not x.is_floating_point() or not bool(x.isfinite().all()):
        return False
    kinds, sure = x[:, 0], x[:, -1]
    whole = (kinds == kinds.floor()) & (kinds >= -1) & (kinds < MOST_CLASSES)
    return bool((whole & (sure >= 0) & (sure <= 1)).all())


def counted(form: AnswerForm, x: Tensor) -> Tensor:
    """The boxes (n, 6) that count: those of a class, with at least the problem's confidence."""
    return x[(x[:, 0] >= 0) & (x[:, -1] >= (form.confidence or 0.0))]


def images_under(modalities: Sequence[Modality], inputs: Inputs, witness: Inputs) -> dict[str, ImageTrace]:
    """What lies under the target and the answers: the first image among the inputs, untouched, and
    under the attacked answer attacked; empty where no input is an image.
    """
    first = next((each for each in modalities if each.kind == "image"), None)
    if first is None:
        return {}
    shown = {TARGET: inputs, UNTOUCHED: inputs, ATTACKED: {**inputs, **witness}}
    tensors = {name: x[first.name] for name, x in shown.items()}
    return {name: images.picture(x, images.ends(first, x), False) for name, x in tensors.items()}


def figure_of(form: AnswerForm, there: Mapping[str, Tensor], under: Sequence[ImageTrace | None]) -> go.Figure:
    """The boxes that count side by side, by title, each on its picture; a colour for each class.
    The pointer shows the class and the confidence of a box.
    """
    pictures = [each or images.picture(BLANK, (0.0, 1.0), False) for each in under]
    figure = images.side_by_side(pictures, list(there), square=True)
    found = [counted(form, x).tolist() for x in there.values()]
    for column, (picture, boxes) in enumerate(zip(pictures, found, strict=True), 1):
        height, width = picture.z.shape[:2]
        figure.update_xaxes(range=[-0.5, width - 0.5], col=column)
        figure.update_yaxes(range=[height - 0.5, -0.5], autorange=False, col=column)
        for box in boxes:
            figure.add_trace(_outline(form, box, height, width), 1, column)
    kinds = sorted({int(box[0]) for boxes in found for box in boxes})
    return with_legend(figure, [(class_name(form, kind), class_colour(kind)) for kind in kinds])


def _outline(form: AnswerForm, box: Sequence[float], height: int, width: int) -> go.Scatter:
    """One box; pixels lie around whole numbers."""
    kind, left, top, right, bottom, sure = box
    x, y = ([end * size - 0.5 for end in ends] for ends, size in (((left, right), width), ((top, bottom), height)))
    return go.Scatter(
        x=[x[0], x[1], x[1], x[0], x[0]],
        y=[y[0], y[0], y[1], y[1], y[0]],
        mode="lines",
        line={"color": class_colour(int(kind)), "width": 3},
        hovertemplate=f"{class_name(form, int(kind))}, confidence {sure:.2f}<extra></extra>",
        showlegend=False,
    )
