"""Stored attributions: the parts of a sample's inputs that decided a model's answer, before and
after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from app.queries import answer
from app.runs import Run
from app.tensors import read
from attacks.errors import BadInput
from harness.reporting.figures import PALETTE, figured
from harness.reporting.images import DIVERGING, SIZE

CLEAN, SHOWN = "clean", "shown"
BOXES = "boxes"
COLUMNS = ("condition", "modality", "method", "share", "shapley", "output", "baseline", "delta", "why")
Row = Mapping[str, Any]


def of_sample(run: Run, model: str, sample: str) -> list[Row]:
    """All rows of a sample; empty for most samples, because attributions are stored for a few."""
    if not run.parts["attributions"]:
        return []
    found: list[Row] = answer(
        run, "select * from attributions where model = ? and sample = ?", (model, sample)
    ).to_pylist()
    return found


def attributed(run: Run, model: str) -> list[str]:
    """The samples that have any."""
    if not run.parts["attributions"]:
        return []
    found: list[str] = answer(
        run, "select distinct sample from attributions where model = ? order by sample", (model,)
    )["sample"].to_pylist()
    return found


def tensor_of(run: Run, row: Row) -> Tensor | None:
    """The attribution itself, of the modality's shape; boxes are (n, 5).

    Raises:
        BadInput: the file is damaged, or does not hold an attribution.
    """
    path = str(row["file"]).removesuffix(".parquet") + ".safetensors"
    place = f"{run.root}/attributions/{path.rsplit('/', 1)[-1]}"
    found = read(run.files, place, lambda key: key == row["tensor"]).get(row["tensor"])
    if found is not None and not (
        found.is_floating_point() and found.ndim and found.numel() and _fits(row["modality"], found)
    ):
        raise BadInput(
            f"{place} is damaged: its values for {row['modality']!r} are not an attribution; remove it and run the"
            " same command"
        )
    return found


def _fits(name: str, x: Tensor) -> bool:
    return name != BOXES or x.shape[1:] == (5,)


def shares(found: Sequence[Row]) -> go.Figure:
    """The share of each modality under every condition, and its Shapley value."""
    rows = [row for row in found if row["share"] is not None and ", log-mel" not in row["modality"]]
    figure = make_subplots(
        cols=2, subplot_titles=("share of the attribution", "Shapley value"), shared_yaxes=True, horizontal_spacing=0.04
    )
    for number, name in enumerate(dict.fromkeys(row["modality"] for row in rows)):
        own = [row for row in rows if row["modality"] == name]
        for column, key in ((1, "share"), (2, "shapley")):
            figure.add_bar(
                y=[figured(row["condition"]) for row in own],
                x=[row[key] for row in own],
                orientation="h",
                name=figured(name),
                legendgroup=name,
                showlegend=column == 1,
                marker={"color": PALETTE[number % len(PALETTE)]},
                row=1,
                col=column,
            )
    conditions = len({row["condition"] for row in rows})
    figure.update_yaxes(automargin=True, autorange="reversed")
    return figure.update_layout(height=140 + 44 * conditions, template="plotly_white", barmode="group")


def maps(pairs: Sequence[tuple[str, Tensor]]) -> go.Figure:
    """Attributions of one modality under several conditions, on one scale around zero."""
    most = max(max(float(x.abs().max()) for _, x in pairs), 1e-12)
    figure = make_subplots(
        cols=len(pairs), subplot_titles=[figured(title) for title, _ in pairs], horizontal_spacing=0.05
    )
    for number, (_, x) in enumerate(pairs, 1):
        flat = x.float().sum(0) if x.ndim == 3 else x.float()
        if flat.ndim == 1:
            figure.add_scatter(
                y=flat.numpy(),
                mode="lines",
                line={"width": 1, "color": PALETTE[0]},
                showlegend=False,
                row=1,
                col=number,
            )
            figure.update_yaxes(range=[-most * 1.05, most * 1.05], col=number)
        else:
            end = max(most, float(flat.abs().max()))
            figure.add_heatmap(
                z=flat.flatten(1).numpy(),
                zmin=-end,
                zmax=end,
                colorscale=DIVERGING,
                showscale=number == len(pairs),
                row=1,
                col=number,
            )
            figure.update_yaxes(autorange="reversed", col=number)
    return figure.update_layout(height=SIZE, template="plotly_white")


def outlined(picture: go.Figure, boxes: Tensor) -> go.Figure:
    """The boxes (n, 5) that a model looked at, drawn on its image. More weight makes a box more
    solid; a box without size is not drawn.
    """
    (height, width), most = _extent(picture), max(float(boxes[:, 4].abs().max()), 1e-12)
    for left, top, right, bottom, weight in boxes.tolist():
        if right <= left:
            continue
        picture.add_shape(
            type="rect",
            x0=left * width - 0.5,
            x1=right * width - 0.5,
            y0=top * height - 0.5,
            y1=bottom * height - 0.5,
            line={"color": "#ff7f0e", "width": 2},
            opacity=max(0.05, abs(weight) / most),
        )
    return picture


def _extent(picture: go.Figure) -> tuple[int, int]:
    height, width = picture.data[0].z.shape[:2]
    return height, width
