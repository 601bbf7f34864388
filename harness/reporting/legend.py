"""Classes in figures: a colour for each, the same on every page, and the legend."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from harness.reporting.figures import figured
from harness.reporting.images import SIZE
from harness.run.description import AnswerForm

BASES = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#332288")
"""Okabe and Ito's colours, which colour-blind readers tell apart, and an indigo."""
SHADES = (0.0, 0.6, -0.5, 0.35, -0.25, 0.8, -0.7)  # mixed with white, or below 0 with black
IN_LINE, LINE = 6, 20  # entries in a line of the legend, and its height in pixels


def class_colour(place: int) -> str:
    """The colour of a class, the same on every page; the first 56 classes have different
    colours.
    """
    base, shade = BASES[place % len(BASES)], SHADES[place // len(BASES) % len(SHADES)]
    channels = [int(base[at : at + 2], 16) for at in (1, 3, 5)]
    mixed = [round(x + (255 - x) * shade if shade >= 0 else x * (1 + shade)) for x in channels]
    return "#" + "".join(f"{x:02X}" for x in mixed)


def class_name(form: AnswerForm, value: int) -> str:
    """As the legend has it, with the number that stands at a pixel."""
    name = form.classes[value] if value < len(form.classes) else str(value)
    return figured(name if name == str(value) else f"{value} {name}")


def with_legend(figure: go.Figure, entries: Sequence[tuple[str, str]]) -> go.Figure:
    """Names and their colours below a figure."""
    for name, colour in entries:
        marker = {"symbol": "square", "size": 12, "color": colour}
        figure.add_trace(
            go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=name, hoverinfo="skip", showlegend=True)
        )
    height = SIZE + LINE * -(-len(entries) // IN_LINE)
    bottom = {"orientation": "h", "x": 0, "y": -0.02, "yanchor": "top"}
    return figure.update_layout(height=height, legend=bottom, margin={"l": 10, "r": 10, "b": 10, "t": 40})
