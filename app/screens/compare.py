"""Compare: two runs or models on the same samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.pairs import apart, changed, differences
from app.runs import Run
from app.view import (
    EVALUATE,
    addresses,
    chosen,
    chosen_run,
    empty,
    no_runs,
    note_of,
    page,
    readable,
    remark,
    shown,
    taken_away,
)
from harness.analysis.curves import robust_score_is
from harness.analysis.intervals import TOO_FEW
from harness.reporting.figures import figured

SIDES = ("A", "B")


def draw() -> None:
    if not readable():
        return no_runs()
    ours, theirs = (_side(name, number) for number, name in enumerate(SIDES))
    for run in {ours[0].label: ours[0], theirs[0].label: theirs[0]}.values():
        note_of(run)
    if ours == theirs:
        again = (*EVALUATE, "--seed", "1", "--out", f"{addresses()[0].rstrip('/')}/second")
        return empty("A and B are the same: choose another model or run above, or make one.", *again)
    strength = st.slider("Strength of the attacks", 0.0, 4.0, 1.0, 0.05, key="strength", bind="query-params")
    found = differences(ours, theirs, strength)
    if other := apart(ours, theirs):
        remark(f"{other} samples have the same name but different data in A and B: they are left out.")
    if not found:
        task = ours[0].config.task
        command = (*EVALUATE, "--task", task, "--out", f"{addresses()[0].rstrip('/')}/second")
        return empty("A and B share no sample under a common condition.", *command)
    _differences(found, robust_score_is(ours[0].threshold is not None))
    _changed(ours, theirs, strength, [row["condition"] for row in found])
    return None


def _side(name: str, number: int) -> tuple[Run, str]:
    """A run and one of its models; the second side starts at the second model."""
    left, right = st.columns(2)
    key = name.lower()
    run = chosen_run(left, f"Run {name}", f"{key}_run")
    first = run.models[min(number, len(run.models) - 1)]
    return run, chosen(right, f"Model {name}", run.models, f"{key}_model", first)


def _differences(found: Sequence[Mapping[str, Any]], attacked: str) -> None:
    st.subheader("Differences", anchor=False)
    figure = differences_figure(found)
    shown(figure, "differences")
    number = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(found, hide_index=True, column_config=dict.fromkeys(("A", "B", "change", "low", "high"), number))
    remark(
        "Paired by sample: a change is B minus A, with its 95 % interval, as the command compare prints it. "
        f"An attack's score is {attacked} at this strength. "
        "Only A, only B: samples that score higher by more than 0.5 there; of yes-or-no answers, those that only this "
        "model gets right."
    )
    taken_away("compare", found, {"Differences": figure})


def differences_figure(found: Sequence[Mapping[str, Any]]) -> go.Figure:
    """A dot per condition, right of zero where B is better, with its interval where there is
    one.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[row["change"] for row in found],
        y=[figured(row["condition"]) for row in found],
        mode="markers+text",
        marker={"size": 9},
        text=["" if row["low"] is not None else f" {TOO_FEW}" for row in found],
        textposition="middle right",
        showlegend=False,
        error_x={
            "type": "data",
            "array": [None if row["high"] is None else row["high"] - row["change"] for row in found],
            "arrayminus": [None if row["low"] is None else row["change"] - row["low"] for row in found],
        },
    )
    figure.add_vline(0, line={"dash": "dash", "color": "grey"})
    return figure.update_layout(
        height=120 + 26 * len(found),
        template="plotly_white",
        xaxis={"title": "change, B minus A"},
        yaxis={"autorange": "reversed", "automargin": True},
    )


def _changed(ours: tuple[Run, str], theirs: tuple[Run, str], strength: float, conditions: Sequence[str]) -> None:
    st.subheader("Samples that changed sides", anchor=False)
    condition = chosen(st, "Condition", conditions, "condition")
    found = changed(ours, theirs, strength, condition)
    if not found:
        return remark("No sample changed under this condition.")
    st.dataframe(found, hide_index=True)
    return taken_away("changed", found, {})


if __name__ == "__main__":
    page("Compare", "Two runs or models, paired sample by sample.", draw)
