"""How systems score untouched, attacked and with a modality missing, on every page alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.intervals import Array
from harness.analysis.paired import difference
from harness.reproduce.page import COSTS, DIFFERENCES_IN, MEASURED, Page, costs, mean_and_spread, points
from harness.reproduce.results import MISSING, Results
from harness.reproduce.robust import scenarios_of
from harness.run.set_metrics import CLEAN

if TYPE_CHECKING:
    import plotly.graph_objects as go

Values = Callable[[str, str], Array]
"""The values (seeds, samples) of a system under a condition; their mean is its number."""
POINTS = 100  # in the range of a share
SYMBOLS = ("circle", "x", "diamond", "cross", "triangle-up", "square")  # colour alone does not suffice


def conditions_of(result: Results) -> list[str]:
    """Untouched, each scenario of the task at strength 1, and each modality missing."""
    return [CLEAN, *scenarios_of(result), *(f"{MISSING}{name}" for name in result.task.names)]


def write_scores(result: Results, values: Values, what: str, page: Page, name: str) -> None:
    """A table of every system under every condition, and a picture of it.

    Args:
        what: the numbers are, as the axis of the picture has it.
        name: of the picture.
    """
    systems, conditions = [each.name for each in result.setting.systems], conditions_of(result)
    page.table(
        ["", *conditions],
        [[each, *(mean_and_spread(values(each, condition)) for condition in conditions)] for each in systems],
    )
    page.picture(drawn(values, systems, conditions, what), name, f"{what} of every system, means over seeds")


def drawn(values: Values, systems: Sequence[str], conditions: Sequence[str], what: str) -> go.Figure:
    """A row for each system, a mark for each condition, with the standard deviation over seeds."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for place, condition in enumerate(conditions):
        means = np.array([values(each, condition).mean(1) for each in systems])
        spread = means.std(1, ddof=1) if means.shape[1] > 1 else np.zeros(len(means))
        figure.add_scatter(
            x=means.mean(1),
            y=list(systems),
            error_x={"array": spread},
            name=condition,
            mode="markers",
            marker={"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 10},
        )
    figure.update_layout(
        width=900, height=140 + 34 * len(systems), template="plotly_white", legend={"orientation": "h", "y": -0.15}
    )
    figure.update_xaxes(title=what)
    figure.update_yaxes(autorange="reversed")
    return figure


def write_differences(
    values: Values, ours: Sequence[str], others: Sequence[str], what: str, page: Page, unit: str = "points"
) -> None:
    """A table of what each of ours has more than each other system, untouched; in the unit of the
    values where that is not a share.
    """
    scale = 1.0 if unit == "points" else 1 / POINTS
    page.paragraph(f"{what} of each, minus that of another system, untouched. {DIFFERENCES_IN.format(unit)}")
    page.table(
        ["minus", *ours],
        [
            [each, *(points(difference(scale * values(one, CLEAN), scale * values(each, CLEAN))) for one in ours)]
            for each in others
        ],
    )


def verdict(values: Values, one: str, others: Sequence[str]) -> str:
    """Above which others a system is untouched, decided by intervals."""
    gains = {name: difference(values(one, CLEAN), values(name, CLEAN)) for name in others}
    above = [name for name, gain in gains.items() if gain.surely > 0]
    below = [name for name, gain in gains.items() if gain.surely < 0]
    unknown = [name for name in others if name not in above and name not in below]
    parts = ((above, "above"), (below, "below"), (unknown, "not distinguishable from"))
    sentences = [f"{word} {' and '.join(names)}" for names, word in parts if names]
    return f"{one} is {'; '.join(sentences)}."


def write_costs(result: Results, values: Values, what: str, page: Page) -> None:
    """Cost beside the untouched number."""
    page.heading("Cost beside accuracy")
    page.paragraph(MEASURED)
    page.table(
        ["", what, *COSTS],
        [
            [name, mean_and_spread(values(name, CLEAN)), *costs(result.cost(name), result.seconds(name))]
            for name in (each.name for each in result.setting.systems)
        ],
    )
