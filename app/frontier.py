"""The frontier between two modalities: how far both may change before a share of the samples has
failed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

from app.figures import HEIGHT, colour
from app.queries import kept, rows
from app.runs import Run
from attacks.scenario import Scenario, parse
from harness.reporting.figures import figured

FEWEST = 3  # rays that make a frontier
Kind = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]
"""Attacked modalities with their norms, and the missing ones: the part that all rays of a frontier
share.
"""


def frontiers(scenarios: Iterable[str]) -> dict[str, list[Scenario]]:
    """For each pair of modalities, its rays by rising angle; the first and last ray attack one of
    the two alone.
    """
    kinds: dict[Kind, list[Scenario]] = {}
    for scenario in map(parse, scenarios):
        kinds.setdefault(
            (tuple((ball.modality, ball.norm_name) for ball in scenario.attacked), scenario.missing), []
        ).append(scenario)
    found = {}
    for (balls, missing), rays in kinds.items():
        if len(balls) == 2 and len({_angle(ray, balls) for ray in rays}) >= FEWEST:
            ends = [each for ball in balls for each in kinds.get(((ball,), missing), [])[:1]]
            name = " and ".join(f"{modality} ({norm})" for modality, norm in balls)
            without = f", without {', '.join(missing)}" if missing else ""
            found[name + without] = sorted([*ends, *rays], key=lambda ray: _angle(ray, balls))
    return found


def _angle(ray: Scenario, balls: Sequence[tuple[str, str]]) -> float:
    first, second = _radii(ray, balls)
    return math.atan2(second, first)


def _radii(ray: Scenario, balls: Sequence[tuple[str, str]]) -> tuple[float, ...]:
    radius = {ball.modality: ball.radius for ball in ray.attacked}
    return tuple(radius.get(modality, 0.0) for modality, _ in balls)


@kept
def radii(run: Run, rays: Sequence[str], withstanding: float) -> list[dict[str, object]]:
    """For each model and ray, the strength at which at most this share of samples withstands, and
    the radii there.
    """
    marks = ", ".join("?" * len(rays))
    sql = f"""
        select model, scenario, quantile_disc(strength, 1 - ?::double) as strength, count(*) as samples from ledger
        where status = 'ok' and scenario in ({marks}) group by all
    """
    strengths = {(row["model"], row["scenario"]): row for row in rows(run, sql, (withstanding, *rays))}
    balls = next(
        [(ball.modality, ball.norm_name) for ball in ray.attacked] for ray in map(parse, rays) if len(ray.attacked) == 2
    )
    found: list[dict[str, object]] = []
    for model in run.models:
        for ray in rays:
            if (model, ray) in strengths:
                row = strengths[model, ray]
                at = [row["strength"] * radius if radius else 0.0 for radius in _radii(parse(ray), balls)]
                found.append({**row, **{f"{name} radius": each for (name, _), each in zip(balls, at, strict=True)}})
    return found


def drawn(run: Run, found: Sequence[Mapping[str, object]], models: Sequence[str]) -> go.Figure:
    """One line per model through its rays; rays that never lower the score so far are left out."""
    names = [name for name in found[0] if name.endswith(" radius")]
    figure = go.Figure()
    for model in models:
        points = [row for row in found if row["model"] == model and math.isfinite(float(str(row["strength"])))]
        figure.add_scatter(
            x=[row[names[0]] for row in points],
            y=[row[names[1]] for row in points],
            name=figured(model),
            mode="lines+markers",
            line={"color": colour(model, run.models)},
            text=[figured(str(row["scenario"])) for row in points],
            cliponaxis=False,
        )
    return figure.update_layout(
        height=HEIGHT,
        xaxis={"title": figured(names[0]), "rangemode": "tozero"},
        yaxis={"title": figured(names[1]), "rangemode": "tozero"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        template="plotly_white",
    )
