"""Trust and gates: the checks of each number, and the verdicts of the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.explained import explanations_of
from app.figures import heat
from app.queries import trust
from app.runs import Run
from app.view import EVALUATE, HARNESS, empty, of_a_run, page, remark, shown, taken_away
from harness.reporting.figures import figured
from harness.run.directory import RunDirectory
from harness.run.flags import INFORMATIVE, raised_checks

COLOURS = {"pass": "#2ca02c", "fail": "#d62728", "inconclusive": "#ff7f0e"}
GATE = ("gate", "limit", "result", "value", "low", "high", "verdict", "why")
SIGNS = {"pass": "✓", "fail": "✗", "inconclusive": "?"}  # emoji are boxes where a machine has no font for them


@of_a_run
def draw(run: Run) -> None:
    _flags(run)
    _gates(run)


def _flags(run: Run) -> None:
    st.subheader("Flags", anchor=False)
    found = flag_rows(run)
    if not found:
        return empty(
            "The numbers of this run were not checked: the run is not finished.", *EVALUATE, "--trust", "--out", run.url
        )
    left, middle, right = st.columns([3, 3, 2], vertical_alignment="bottom")
    models = left.multiselect("Models", run.models, key="models", bind="query-params", placeholder="all") or run.models
    flags = sorted({row["flag"] for row in found})
    wanted = middle.multiselect("Flags", flags, key="flags", bind="query-params", placeholder="all") or flags
    raised = right.toggle("Raised only", key="raised", bind="query-params")
    kept = [row for row in found if row["model"] in models and row["flag"] in wanted and (row["raised"] or not raised)]
    doubted = sum(row["raised"] for row in found)
    remark(
        f"{doubted} of {len(found)} checks raised a flag. A flag does not change a number. It shows whether the number"
        " can be believed."
    )
    explanations_of(raised_checks(trust(run)))
    if not kept:
        return remark("No check matches these filters: remove a filter.")
    st.dataframe(
        kept,
        hide_index=True,
        column_config={
            "why": st.column_config.TextColumn(width="large"),
            "value": st.column_config.NumberColumn(format="%.3g"),
        },
    )
    figure = flags_figure(kept)
    shown(figure, "flags")
    return taken_away("flags", kept, {"Flags": figure})


def flag_rows(run: Run) -> list[dict[str, Any]]:
    """Every check of a run, raised or not, those raised first."""
    found = [
        {
            "raised": flag["raised"],
            "flag": name,
            "model": model,
            "scenario": scenario,
            "value": flag["value"],
            "why": flag["why"],
            "kind": "its meaning" if name in INFORMATIVE else "whether it holds",
        }
        for model, scenarios in trust(run).items()
        for scenario, flags in scenarios.items()
        for name, flag in flags.items()
    ]
    return sorted(found, key=lambda row: not row["raised"])


def flags_figure(found: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Models down, checks across: how many attacks each check raised its flag for; empty where it
    was not made.
    """
    across, down = (sorted({row[key] for row in found}) for key in ("flag", "model"))
    counts: dict[tuple[str, str], int] = {}
    for row in found:
        counts[row["model"], row["flag"]] = counts.get((row["model"], row["flag"]), 0) + row["raised"]
    values = [[counts.get((model, flag)) for flag in across] for model in down]
    figure = heat(values, across, down, "attacks", zmin=0, zmax=max(1, *counts.values()), colorscale="Reds")
    return figure.update_traces(texttemplate="%{z}").update_xaxes(title="attacks that fail each check")


def _gates(run: Run) -> None:
    st.subheader("Gates", anchor=False)
    found = gates(run)
    if not found:
        return empty("No gates were checked on this run.", *HARNESS, "gate", run.url, "--gates", "gates.yaml")
    st.dataframe(
        [{"": SIGNS.get(row["verdict"], ""), **row} for row in found],
        hide_index=True,
        column_config={"why": st.column_config.TextColumn(width="large")},
    )
    figure = gates_figure(found)
    shown(figure, "gates")
    return taken_away("gates", found, {"Gates": figure})


def gates(run: Run) -> list[dict[str, Any]]:
    """The verdicts that `gate` wrote into a run; empty without a call of `gate`.

    Raises:
        BadInput: the file is damaged.
    """
    return [{key: row.get(key) for key in GATE} for row in RunDirectory(run.url).notes.gates()]


def gates_figure(found: Sequence[Mapping[str, Any]]) -> go.Figure:
    """For each gate, its value with the interval, and the limit as a bar across."""
    figure = go.Figure()
    for verdict, colour in COLOURS.items():
        rows = [row for row in found if row["verdict"] == verdict and row["value"] is not None]
        low, high = (
            [abs((row[end] if row[end] is not None else row["value"]) - row["value"]) for row in rows]
            for end in ("low", "high")
        )
        figure.add_scatter(
            x=[row["value"] for row in rows],
            y=[figured(str(row["gate"])) for row in rows],
            name=verdict,
            mode="markers",
            marker={"color": colour, "size": 10},
            error_x={"type": "data", "array": high, "arrayminus": low},
        )
    figure.add_scatter(
        x=[row["limit"] for row in found],
        y=[figured(str(row["gate"])) for row in found],
        name="limit",
        mode="markers",
        marker={"symbol": "line-ns", "size": 22, "line": {"width": 3, "color": "grey"}},
    )
    return figure.update_layout(
        height=150 + 44 * len(found),
        template="plotly_white",
        yaxis={"autorange": "reversed", "automargin": True},
        xaxis={"title": "value"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )


if __name__ == "__main__":
    page("Trust and gates", "The trust checks of each number, and the verdicts of the gates.", draw)
