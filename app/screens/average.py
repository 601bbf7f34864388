"""Average case: how the score falls as modalities go missing or get noisy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.figures import curve, heat
from app.queries import answer, kept, rows
from app.runs import Run
from app.view import EVALUATE, chosen, empty, of_a_run, page, remark, shown, taken_away
from harness.analysis.curves import IS_GAP, Point, corruption_curves, missing_curves
from harness.analysis.measures import area, degradations
from harness.run.schema import CORRUPTION, SCHEDULE

SCHEDULES = """
    select name, kind from sweep where status = 'ok'
    group by all having count(distinct level) > 1 order by name
"""
ROWS = "select kind, name, model, level, sample, score, present, status from sweep where name = ? and status = 'ok'"
SETS = f"""
    with averaged as (
        select model, present, sample, avg(score) as score from sweep
        where status = 'ok' and kind = 'schedule' and not {IS_GAP}
          and (starts_with(name, 'fixed(') or level = 0)
        group by all
    ), complete as (select sample from averaged where not contains(present, '0'))
    select model, present, avg(score) as score, count(*) as samples from averaged
    where sample in (select sample from complete) or not exists (select sample from complete)
    group by all
"""
MOST_RESAMPLED = 5_000  # samples; beyond, a bootstrap takes longer than a page should


@of_a_run
def draw(run: Run) -> None:
    if not rows(run, "select 1 from sweep where status = 'ok' limit 1"):
        return empty("This run did not remove any inputs.", *EVALUATE, "--task", run.config.task)
    models = st.multiselect("Models", run.models, key="models", bind="query-params", placeholder="all") or run.models
    schedules = rows(run, SCHEDULES)
    left, right = st.columns(2)
    with left:
        _missing(run, [row["name"] for row in schedules if row["kind"] == SCHEDULE], models)
    with right:
        _corrupted(run, [row["name"] for row in schedules if row["kind"] == CORRUPTION], models)
    _sets(run, models)
    return None


def _missing(run: Run, schedules: Sequence[str], models: Sequence[str]) -> None:
    st.subheader("Fraction missing", anchor=False)
    if not schedules:
        return empty(
            "No schedule was run at two levels or more.",
            *EVALUATE,
            "--task",
            run.config.task,
            "--schedule",
            "mcar:0,0.5",
        )
    schedule = chosen(st, "Schedule", schedules, "schedule")
    curves = _of(missing_curves(answer(run, ROWS, (schedule,))), models)
    figure = curve(curves, run.models, "fraction missing", "score")
    shown(figure, "missing")
    areas = {model: text for model, text in under(run, schedule).items() if model in models}
    if areas:
        st.dataframe([{"model": model, "area under the curve": text} for model, text in areas.items()], hide_index=True)
    remark("Bands are 95 % intervals. An area is the mean score over the range of fractions, with its interval.")
    return taken_away("missing", _points(schedule, "fraction missing", curves), {"Curves": figure})


def _corrupted(run: Run, corruptions: Sequence[str], models: Sequence[str]) -> None:
    st.subheader("Severity of a corruption", anchor=False)
    if not corruptions:
        name = run.description.modalities[0]
        return empty("No corruption was run.", *EVALUATE, "--task", run.config.task, "--corruption", f"{name}@noise")
    corruption = chosen(st, "Corruption", corruptions, "corruption")
    curves = _of(corruption_curves(answer(run, ROWS, (corruption,))), models)
    figure = curve(curves, run.models, "severity", "score")
    shown(figure, "corrupted")
    remark("Bands are 95 % intervals. Severity 0 is the untouched input, 5 the worst.")
    return taken_away("corrupted", _points(corruption, "severity", curves), {"Curves": figure})


def _of(curves: dict[tuple[str, str], list[Point]], models: Sequence[str]) -> dict[str, list[Point]]:
    return {model: points for (_, model), points in curves.items() if model in models}


@kept
def under(run: Run, schedule: str) -> dict[str, str]:
    """Per model the area under its curve with an interval, as text; nothing where there are too
    many samples to resample.
    """
    found = degradations(answer(run, ROWS, (schedule,))) if _samples(run) <= MOST_RESAMPLED else {}
    return {model: str(area(curve)) for (_, model), curve in sorted(found.items())}


def _samples(run: Run) -> int:
    return int(rows(run, "select count(distinct sample) as n from samples")[0]["n"])


def _points(name: str, across: str, curves: dict[str, list[Point]]) -> list[dict[str, Any]]:
    return [
        {"condition": name, "model": model, across: point.at, "score": point.share.value}
        | dict(zip(("low", "high"), point.share.interval, strict=True))
        | {"samples": point.share.samples}
        for model, points in curves.items()
        for point in points
    ]


def _sets(run: Run, models: Sequence[str]) -> None:
    st.subheader("Which modalities are missing", anchor=False)
    names = run.description.modalities
    found = [{**row, "missing": absent(row["present"], names)} for row in rows(run, SETS) if row["model"] in models]
    if not found:
        return empty(
            "No set of modalities was left out.",
            *EVALUATE,
            "--task",
            run.config.task,
            "--schedule",
            f"fixed({names[0]}):0,1",
        )
    figure = sets_figure(found, models)
    shown(figure, "sets")
    remark("The mean score with exactly these modalities missing, over the samples that came with every modality.")
    table = [
        {"model": row["model"], "missing": row["missing"], "score": row["score"], "samples": row["samples"]}
        for row in found
    ]
    return taken_away("sets", table, {"Heat map": figure})


def absent(present: str, names: Sequence[str]) -> str:
    """A bit string in words."""
    return " + ".join(name for name, bit in zip(names, present, strict=False) if bit == "0") or "nothing"


def sets_figure(found: Sequence[dict[str, Any]], models: Sequence[str]) -> go.Figure:
    """Models down, sets of missing modalities across, fewest first."""
    sets = sorted({row["missing"] for row in found}, key=lambda text: (text != "nothing", text.count("+"), text))
    scores = {(row["model"], row["missing"]): row["score"] for row in found}
    drawn = [model for model in models if any(row["model"] == model for row in found)]
    values = [[scores.get((model, each)) for each in sets] for model in drawn]
    return heat(values, sets, drawn, "score", zmin=0, zmax=1, colorscale="Viridis").update_xaxes(title="missing")


if __name__ == "__main__":
    page("Average case", "How the score falls as modalities go missing or get noisy.", draw)
