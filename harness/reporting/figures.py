"""The figures of curves: a panel for each scenario or schedule, a line with its band for each
model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go
from plotly.colors import qualitative

from harness.analysis.curves import CURVED, Point, robust_curves, strength_grid
from harness.run.directory import RunDirectory

Curves = Mapping[tuple[str, str], Sequence[Point]]
PALETTE = qualitative.D3
ACROSS = 3  # panels in a row


def robust_figure(directory: RunDirectory) -> go.Figure:
    """All curves of a run in one figure: robust score against strength, a panel for each
    scenario.
    """
    from plotly.subplots import make_subplots

    ledger, fronts = directory.ledger(CURVED["ledger"]), directory.table("fronts", CURVED["fronts"])
    curves = curves_figured(robust_curves(ledger, strength_grid(ledger), fronts)) if len(ledger) else {}
    models = [figured(model) for model in directory.describe().identity.config.model]
    panels = figures(curves, models, "strength", "robust score")
    columns = max(1, min(ACROSS, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    whole = make_subplots(
        rows, columns, subplot_titles=[panel.layout.title.text for panel in panels], shared_yaxes=True
    )
    for number, panel in enumerate(panels):
        row, column = number // columns + 1, number % columns + 1
        whole.add_traces(panel.data, rows=row, cols=column)
        whole.update_xaxes(range=panel.layout.xaxis.range, title="strength", row=row, col=column)
        whole.update_yaxes(range=[0, 1.02], row=row, col=column)
    for trace in whole.data[len(panels[0].data) if panels else 0 :]:  # the first panel's lines name the models
        trace.showlegend = False
    whole.update_yaxes(title="robust score", col=1)
    whole.update_layout(width=360 * columns + 140, height=320 * rows + 60, template="plotly_white")
    return whole


def figured(text: str) -> str:
    """Text from outside for a figure, which reads some HTML."""
    return escape(text, quote=False)


def curves_figured(curves: Curves) -> Curves:
    """The names of panels and models as `figured` has them."""
    return {(figured(panel), figured(model)): points for (panel, model), points in curves.items()}


def figures(curves: Curves, models: Sequence[str], across: str, up: str) -> list[go.Figure]:
    """One panel per scenario or schedule, one line with its band per model."""
    panels = sorted({panel for panel, _ in curves}, key=lambda panel: (panel.count("+"), panel))
    return [
        _panel(panel, {m: curves[panel, m] for m in models if (panel, m) in curves}, models, across, up)
        for panel in panels
    ]


def _certified(figure: go.Figure, model: str, colour: str, points: Sequence[Point]) -> None:
    """The certified edge as a dotted line, and hatching up to the attacked one: what is not
    known.
    """
    both = [(point.at, point.certified.value, point.share.value) for point in points if point.certified is not None]
    if not both:
        return
    at, low, high = (list(each) for each in zip(*both, strict=True))
    figure.add_scatter(
        x=at + at[::-1],
        y=high + low[::-1],
        fill="toself",
        mode="none",
        fillcolor="rgba(0, 0, 0, 0)",
        fillpattern={"shape": "/", "fgcolor": colour, "fgopacity": 0.35, "size": 6},
        name=f"{model}: unknown",
        legendgroup=model,
        hoverinfo="skip",
    )
    line = {"color": colour, "dash": "dot"}
    figure.add_scatter(x=at, y=low, name=f"{model}: certified", legendgroup=model, mode="lines", line=line)


def _panel(title: str, lines: Mapping[str, Sequence[Point]], models: Sequence[str], across: str, up: str) -> go.Figure:
    figure = go.Figure()
    for model, points in lines.items():
        colour = PALETTE[models.index(model) % len(PALETTE)]
        at = [point.at for point in points]
        low, high = zip(*(point.share.interval for point in points), strict=True)
        band = {"x": at + at[::-1], "y": [*high, *low[::-1]], "fill": "toself", "opacity": 0.15, "mode": "none"}
        figure.add_scatter(**band, fillcolor=colour, hoverinfo="skip", showlegend=False, legendgroup=model)
        _certified(figure, model, colour, points)
        figure.add_scatter(
            x=at,
            y=[point.share.value for point in points],
            name=model,
            legendgroup=model,
            mode="lines" if len(at) > 20 else "lines+markers",
            line={"color": colour},
        )
    standing = [point.at for points in lines.values() for point in points if point.share.value > 0]
    figure.update_xaxes(range=[0, max(standing, default=1.0) * 1.03])  # beyond, every line is at 0
    figure.update_layout(
        title=title,
        width=560,
        height=380,
        template="plotly_white",
        margin={"t": 50, "b": 45, "l": 55, "r": 15},
        xaxis_title=across,
        yaxis={"title": up, "range": [0, 1.02]},
    )
    return figure
