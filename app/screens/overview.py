"""Overview: runs and models as a leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.leaderboard import SCORES, leaders, matching
from app.runs import Run
from app.view import EVALUATE, addresses, empty, no_runs, page, plain, readable, remark, shown, taken_away
from attacks.errors import BadInput
from harness.reporting.figures import PALETTE, figured

MOST_DRAWN = 30  # models in the figure
COLUMNS = (
    "run",
    "model",
    *SCORES,
    "flags",
    "task",
    "samples",
    "status",
    "seed",
    "weakest to",
    "joint attack",
    "missing by",
)


def draw() -> None:
    runs = readable()
    if not runs:
        return no_runs()
    found = [row for run in runs for row in _of(run)]
    if not found:
        return empty("No run has results yet.", *EVALUATE, "--out", f"{addresses()[0].rstrip('/')}/first")
    words, kinds, order, soundness = st.columns([3, 3, 2, 2], vertical_alignment="bottom")
    tasks = kinds.multiselect(
        "Tasks", sorted({row["task"] for row in found}), key="tasks", bind="query-params", placeholder="all"
    )
    text = words.text_input("Runs and models", key="find", bind="query-params", placeholder="words to look for")
    by = order.selectbox("Sorted by", ["run", *SCORES, "flags"], key="by", bind="query-params")
    sound = soundness.toggle("Without flags only", key="sound", bind="query-params")
    kept = _sorted(matching(found, text, tasks, sound), by)
    if not kept:
        return remark("No model matches these filters: remove a filter.")
    _table(kept)
    figure = leaders_figure(kept[:MOST_DRAWN])
    shown(figure, "leaders")
    if len(kept) > MOST_DRAWN:
        remark(f"The figure shows the first {MOST_DRAWN} of {len(kept)} models.")
    taken_away("overview", kept, {"Scores": figure})
    return None


def _of(run: Run) -> list[dict[str, Any]]:
    """The rows of a run. A run with damaged files is named; the other runs are still shown."""
    try:
        return leaders(run)
    except BadInput as error:
        st.warning(plain(str(error)))
        return []


def _sorted(found: Sequence[Mapping[str, Any]], by: str) -> list[Mapping[str, Any]]:
    """The best first, or in the order of the runs; a row without the number comes last."""
    if by == "run":
        return list(found)
    sign = 1 if by == "flags" else -1
    return sorted(found, key=lambda row: (row[by] is None, sign * (row[by] or 0)))


def _table(found: Sequence[Mapping[str, Any]]) -> None:
    score = st.column_config.ProgressColumn(format="%.3f", min_value=0.0, max_value=1.0, width=120, color="blue")
    st.dataframe(
        [{name: row[name] for name in COLUMNS} for row in found],
        hide_index=True,
        column_config={
            **dict.fromkeys(SCORES, score),
            "flags": st.column_config.NumberColumn(help="attacks whose number fails a check"),
        },
    )
    remark(
        "Worst single: the attack on one modality that lowers the score most, at strength 1; joint: the attack on"
        " the most modalities; both are upper bounds found by attack, not certificates. Missing area: the mean score"
        " over the"
        " fractions missing that were run. Flags: attacks whose number fails a check; the page Trust and gates shows"
        " why. Click a column to sort by it."
    )


def leaders_figure(found: Sequence[Mapping[str, Any]]) -> go.Figure:
    """A dot per score with its 95 % interval, a line per run and model."""
    several = len({row["run"] for row in found}) > 1
    names = [figured(f"{row['run']} · {row['model']}" if several else row["model"]) for row in found]
    figure = go.Figure()
    for number, score in enumerate(SCORES):
        rows = [(name, row) for name, row in zip(names, found, strict=True) if row[score] is not None]
        bars = [
            (row[f"{score} high"] - row[score], row[score] - row[f"{score} low"])
            for _, row in rows
            if f"{score} low" in row
        ]
        error = {
            "type": "data",
            "array": [up for up, _ in bars],
            "arrayminus": [down for _, down in bars],
            "thickness": 1,
        }
        figure.add_scatter(
            x=[row[score] for _, row in rows],
            y=[name for name, _ in rows],
            name=score,
            mode="markers",
            marker={"color": PALETTE[number], "size": 9},
            error_x=error if bars else None,
        )
    figure.update_layout(
        height=140 + 34 * len(found),
        xaxis={"title": "score", "range": [0, 1.02]},
        yaxis={"autorange": "reversed", "automargin": True},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        scattermode="group",
    )
    return figure


if __name__ == "__main__":
    page("Overview", "Every run and model: its scores untouched, attacked, and with inputs missing.", draw)
