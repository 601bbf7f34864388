"""The robustness part that all pages share: scores at the radii as written, median critical
strengths, curves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.colors import qualitative

from attacks.edits.tokens import Tokens
from harness.analysis.intervals import Array, Estimate
from harness.analysis.paired import difference
from harness.reproduce.page import Page, mean_and_spread, median_strength
from harness.reproduce.results import Results
from harness.run.set_metrics import CLEAN

ONE_WORD = (Tokens.name, 1)
ON_GRID = 81
BEYOND = 1.05
DASHES = ("solid", "dot")  # there are ten colours


def write(result: Results, systems: Sequence[str], page: Page) -> None:
    """A table of scores, clean and attacked, and one of median critical strengths."""
    scenarios = scenarios_of(result)
    page.paragraph(f"Attacked: {result.scores(systems[0]).shape[1]} test samples, search `{result.effort.search}`.")
    page.table(
        ["robust accuracy", CLEAN, *scenarios],
        [
            [each, mean_and_spread(result.scores(each)), *(mean_and_spread(result.scores(each, s)) for s in scenarios)]
            for each in systems
        ],
    )
    page.paragraph(
        "Median critical strengths, over all seeds, of the samples that a model gets right untouched. Strength 1 is the"
        " radius as written:"
    )
    limit = result.effort.limit
    page.table(
        ["", *scenarios],
        [[each, *(median_strength(result.strengths(each, s), limit) for s in scenarios)] for each in systems],
    )
    if any((ball.norm_name, ball.radius) == ONE_WORD for each in result.task.scenarios() for ball in each.edits):
        page.paragraph(
            "A word (or character) changes as a whole. Below strength 1 no word can change, so an attack on words"
            " and another input then changes the other input only."
        )


def scenarios_of(result: Results) -> list[str]:
    """The task's own, as they are written."""
    return [str(each) for each in result.task.scenarios()]


def comparison_strengths(result: Results, system: str) -> dict[str, float]:
    """By scenario, the strength at which other systems are compared with this one: its median
    critical strength over the samples that it gets right untouched, but at most 1.

    At the radii as written all systems may score 0, and then there is no difference to see.
    """
    found = {scenario: result.strengths(system, scenario) for scenario in scenarios_of(result)}
    return {
        scenario: min(1.0, float(np.median(each[each > 0]))) if (each > 0).any() else 1.0
        for scenario, each in found.items()
    }


def compared(result: Results, one: str, other: str, scenario: str, strength: float) -> Estimate:
    """The accuracy of one system at a strength, minus that of another."""
    return difference(result.withstood(one, scenario, strength), result.withstood(other, scenario, strength))


def at_strengths(strengths: Mapping[str, float]) -> list[str]:
    """Headings of columns."""
    return [f"{scenario} at {strength:.3g}" for scenario, strength in strengths.items()]


def curves(result: Results, systems: Sequence[str], scenarios: Sequence[str]) -> go.Figure:
    """Robust scores against strength: one panel per scenario, a line per system, means over
    seeds.
    """
    from plotly.subplots import make_subplots

    figure, limit = (
        make_subplots(1, len(scenarios), subplot_titles=list(scenarios), shared_yaxes=True),
        result.effort.limit,
    )
    for column, scenario in enumerate(scenarios, 1):
        found = {system: result.strengths(system, scenario) for system in systems}
        end = _end(found.values(), limit)
        grid = np.linspace(0, end, ON_GRID, endpoint=False)
        for number, system in enumerate(systems):
            figure.add_scatter(
                x=grid,
                y=_left(found[system], grid),
                name=system,
                legendgroup=system,
                mode="lines",
                line={"color": qualitative.D3[number % 10], "dash": DASHES[number // 10 % 2]},
                showlegend=column == 1,
                row=1,
                col=column,
            )
        figure.update_xaxes(title="strength", range=[0, end], row=1, col=column)
    figure.update_yaxes(title="robust score", range=[0, 1.02], col=1)
    figure.update_layout(
        width=max(640, 360 * len(scenarios)),
        height=460,
        template="plotly_white",
        legend={"orientation": "h", "y": -0.2},
    )
    return figure


def _end(found: Iterable[Array], limit: float) -> float:
    """A little beyond the largest critical strength that was found."""
    fallen = np.concatenate([each[(each > 0) & np.isfinite(each)] for each in found])
    return min(limit, BEYOND * float(fallen.max())) if len(fallen) else limit


def _left(strengths: Array, grid: Array) -> Array:
    curve: Array = (strengths[..., None] > grid).mean((0, 1))
    return curve
