"""Worst case: how the score falls with the strength of an attack, and where samples fail."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import streamlit as st
from plotly.subplots import make_subplots

from app import frontier
from app.explained import explanations_of
from app.figures import colour, curve
from app.queries import answer, fronts, kept, rows, trust
from app.runs import Run
from app.view import EVALUATE, at_threshold, chosen, empty, of_a_run, page, plain, remark, sections, shown, taken_away
from attacks.scenario import parse
from harness.analysis.class_tables import ClassTable, class_tables
from harness.analysis.curves import Point, robust_curves, robust_score_is, strength_grid
from harness.analysis.measures import oracle_of
from harness.reporting.figures import figured
from harness.run.directory import RunDirectory
from harness.run.flags import EVERY, flag_lines, raised_checks
from harness.run.schema import CERTIFICATES

BINS = 24
POINTS = 81
ROWS = """
    select scenario, model, sample, strength, "limit", clean_score, status{} from ledger
    where scenario = ? and status = 'ok'
"""
SCENARIOS = "select scenario, count(*) as samples from ledger where status = 'ok' group by scenario"


@of_a_run
def draw(run: Run) -> None:
    run = at_threshold(run)
    scenarios = _scenarios(run)
    if not run.description.attacked or not scenarios:
        return empty("This run has no attacked samples.", *EVALUATE, "--task", run.config.task)
    left, middle, right = st.columns([4, 4, 2], vertical_alignment="bottom")
    scenario = chosen(left, "Scenario", scenarios, "scenario")
    models = (
        middle.multiselect("Models", run.models, key="models", bind="query-params", placeholder="all") or run.models
    )
    log = right.selectbox("Strength axis", ["linear", "log"], key="axis", bind="query-params") == "log"
    certify = run.description.identity.config.certify
    found = answer(run, ROWS.format(f", {', '.join(CERTIFICATES)}" if certify else ""), (scenario,))
    _curves(run, scenario, models, log, found)
    _distribution(run, scenario, models, log, found)
    return sections(partial(_frontier, run, scenarios, models), partial(_by_class, run, models))


def _scenarios(run: Run) -> list[str]:
    """Requested scenarios first, then their searched sub-scenarios; scenarios without an attack are
    left out.
    """
    there = {row["scenario"] for row in rows(run, SCENARIOS)}
    requested = [each for each in run.description.identity.scenarios if each in there]
    others = sorted(there - set(requested), key=lambda each: (each.count("+"), each))
    return [each for each in (*requested, *others) if parse(each).attacked]


def _curves(run: Run, scenario: str, models: Sequence[str], log: bool, found: pa.Table) -> None:
    st.subheader("Robust score against strength", anchor=False)
    every = robust_curves(found, grid(found, log), fronts(run, scenario))
    curves = {model: points for (_, model), points in every.items() if model in models}
    figure = curve(curves, run.models, "strength", "robust score")
    for name, score in oracles(run, scenario).items():
        figure.add_hline(score, line={"dash": "dash", "color": "grey"}, annotation_text=f"oracle {figured(name)}")
    shown(_on(figure, log), "robust")
    flags = {m: {each: of.get(each, {}) for each in (EVERY, scenario)} for m, of in trust(run).items() if m in models}
    for line in flag_lines(flags):
        st.warning(plain(line))
    explanations_of(raised_checks(flags))
    remark(
        f"A robust score is {robust_score_is(run.threshold is not None)}: an upper bound found by attack, not a"
        " certificate. Where there are certificates, the dotted line is the share that provably withstands, and what"
        " lies between (hatched) is not known. Bands are 95 % intervals. At strength 1 the radii are as the scenario"
        " writes them. An oracle does not read the attacked modality."
    )
    taken_away("worst", _points(scenario, curves), {"Curves": figure})


def _points(scenario: str, curves: dict[str, list[Point]]) -> list[dict[str, Any]]:
    return [
        {"scenario": scenario, "model": model, "strength": point.at, "robust score": point.share.value}
        | dict(zip(("low", "high"), point.share.interval, strict=True))
        | {"samples": point.share.samples}
        for model, points in curves.items()
        for point in points
    ]


def grid(found: pa.Table, log: bool, points: int = POINTS) -> list[float]:
    """Strengths at which a curve is drawn; on a log axis from where the first sample falls,
    strength 0 not among them.
    """
    linear = strength_grid(found, points)
    if not log:
        return linear
    strengths = found.column("strength").to_numpy()
    moving = strengths[(strengths > 0) & np.isfinite(strengths)]
    low = max(float(moving.min()) * 0.9, linear[-1] * 1e-4) if len(moving) else linear[-1] / 100
    return list(np.geomspace(low, linear[-1], points).tolist())


def oracles(run: Run, scenario: str) -> dict[str, float]:
    """The clean score of the run's model that does not read the one attacked modality."""
    name = oracle_of(scenario)
    scores = (
        rows(run, "select avg(score) as score from samples where model = ? having count(*) > 0", (name,))
        if name
        else []
    )
    return {str(name): scores[0]["score"]} if scores else {}


def _on(figure: go.Figure, log: bool) -> go.Figure:
    return figure.update_xaxes(type="log") if log else figure


def _distribution(run: Run, scenario: str, models: Sequence[str], log: bool, found: pa.Table) -> None:
    st.subheader("Critical strengths", anchor=False)
    counts = histogram(run, scenario, sorted({0.0, *grid(found, log, BINS + 1)}))
    drawn = [model for model in models if model in counts]
    if not drawn:
        return remark("None of these models has rows for this scenario.")
    figure = distribution(counts, drawn, run.models)
    shown(figure, "distribution")
    remark(
        "The number of samples that first fail at each strength. Samples that fail untouched are at 0; samples that"
        f" withstood every attack tried are on the right.{_failed(run)}"
    )
    table = [
        {"scenario": scenario, "model": model, "up to": up, "samples": n} for model in drawn for up, n in counts[model]
    ]
    return taken_away("critical", table, {"Critical strengths": figure})


def _failed(run: Run) -> str:
    """When a graded answer has failed."""
    share = run.threshold
    return "" if share is None else f" A sample has failed when its score is below {share:g} of its untouched score."


@kept
def histogram(run: Run, scenario: str, edges: Sequence[float]) -> dict[str, list[tuple[float, int]]]:
    """For each model, the number of critical strengths between neighbouring edges; the last edge is
    infinite.
    """
    sql = (
        "select model, histogram(strength, ?::double[]) as counts from ledger where status = 'ok' and scenario = ?"
        " group by model"
    )
    found = {row["model"]: dict(row["counts"]) for row in rows(run, sql, (list(edges), scenario))}
    return {model: [(edge, counts.get(edge, 0)) for edge in (*edges, float("inf"))] for model, counts in found.items()}


def distribution(counts: dict[str, list[tuple[float, int]]], drawn: Sequence[str], models: Sequence[str]) -> go.Figure:
    """A row of bars per model, on the same bins. Samples that fail untouched, and samples that
    never fail, have their own bars.
    """
    figure = make_subplots(rows=len(drawn), shared_xaxes=True, vertical_spacing=0.15 / len(drawn))
    for number, model in enumerate(drawn):
        edges = [edge for edge, _ in counts[model]]
        labels = ["fails untouched", *(f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges[:-1])), "not found"]
        bars = go.Bar(
            x=labels,
            y=[n for _, n in counts[model]],
            name=figured(model),
            marker={"color": colour(model, models)},
            hovertemplate="%{x}: %{y} samples",
        )
        figure.add_trace(bars, number + 1, 1)
    figure.update_layout(
        height=130 + 110 * len(drawn),
        template="plotly_white",
        bargap=0.05,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )
    figure.update_yaxes(nticks=4)
    return figure.update_xaxes(tickangle=-45, automargin=True)


def _frontier(run: Run, scenarios: Sequence[str], models: Sequence[str]) -> None:
    st.subheader("Frontier between two modalities", anchor=False)
    pairs = frontier.frontiers(scenarios)
    if not pairs:
        names = run.description.modalities
        pair = ",".join(names[:2]) if len(names) > 1 else "FIRST,SECOND"
        return empty("This run searched no frontier.", *EVALUATE, "--task", run.config.task, "--frontier", pair)
    left, right = st.columns([4, 4])
    pair = chosen(left, "Pair", list(pairs), "pair")
    share = right.slider(
        "Share of samples that still withstands", 0.05, 0.95, 0.5, 0.05, key="share", bind="query-params"
    )
    found = [row for row in frontier.radii(run, [str(ray) for ray in pairs[pair]], share) if row["model"] in models]
    if not found:
        return remark("None of these models has rows for this pair.")
    figure = frontier.drawn(run, found, models)
    shown(figure, "frontier")
    remark(
        "Along each ray both radii grow together. At a point, at most this share still withstands; below the line,"
        " more samples withstand. A ray is left out if the score never fell this low. A point at 0, 0 means that the"
        " untouched score is not above this share."
    )
    return taken_away("frontier", found, {"Frontier": figure})


@kept
def tables(run: Run) -> list[ClassTable]:
    """The metrics of single classes; none where answers have none.

    Raises:
        BadInput: the file of metrics is damaged.
    """
    return class_tables(RunDirectory(run.url).notes.metrics())


def _by_class(run: Run, models: Sequence[str]) -> None:
    found = [table for table in tables(run) if table.model in models]
    if not found:
        return None
    st.subheader("By class", anchor=False)
    remark("Metrics over all samples: untouched, and with the worst known answers at strength 1 of a scenario.")
    for table in found:
        st.markdown(f"**{plain(table.metric)}**, {plain(table.model)}")
        numbers = {name: st.column_config.NumberColumn(format="%.3f") for name in table.columns}
        st.dataframe(_lines(table), hide_index=True, column_config=numbers)
    every = [{"model": table.model, "metric": table.metric, **line} for table in found for line in _lines(table)]
    return taken_away("classes", every, {})


def _lines(table: ClassTable) -> list[dict[str, Any]]:
    return [{"class": name, **dict(zip(table.columns, row, strict=True))} for name, row in table.rows.items()]


if __name__ == "__main__":
    page("Worst case", "How little an adversary must change before samples fail.", draw)
