"""Figures that several pages draw. The figures of curves are those of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from harness.analysis.curves import Point
from harness.reporting.figures import PALETTE, figured, figures

HEIGHT = 440


def curve(lines: Mapping[str, Sequence[Point]], models: Sequence[str], across: str, up: str) -> go.Figure:
    """One line with its band per model; `models` are all of the run, so that each keeps its
    colour.
    """
    named = {("", figured(model)): points for model, points in lines.items()}
    (figure,) = figures(named, [figured(model) for model in models], across, up) or [go.Figure()]
    return figure.update_layout(
        title=None, width=None, height=HEIGHT, legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    )


def colour(model: str, models: Sequence[str]) -> str:
    """The colour of a model among all of its run."""
    return str(PALETTE[models.index(model) % len(PALETTE)])


def heat(
    values: Sequence[Sequence[float | None]], across: Sequence[str], down: Sequence[str], named: str, **options: object
) -> go.Figure:
    """A table of numbers as colours, each written in its place."""
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[figured(name) for name in across],
            y=[figured(name) for name in down],
            colorbar={"title": named},
            texttemplate="%{z:.2f}",
            hoverongaps=False,
            xgap=1,
            ygap=1,
            **options,
        )
    )
    return figure.update_layout(
        height=150 + 36 * len(down),
        yaxis={"autorange": "reversed", "automargin": True},
        xaxis={"automargin": True, "side": "bottom"},
    )
