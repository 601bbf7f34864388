"""The missing-modality study: SMIL and its rivals, as more of the training sound is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.colors import qualitative

from harness.analysis.paired import difference
from harness.reproduce.page import DIFFERENCES, Page, mean_and_spread, points
from harness.reproduce.results import Results
from harness.reproduce.setting import Effort, Setting, System
from harness.reproduce.study import Study
from harness.run.set_metrics import CLEAN

KEPT = {"10 %": (0.9, Effort(seeds=(0, 1, 2, 3, 4))), "5 %": (0.95, Effort()), "20 %": (0.8, Effort())}
SMIL, ELBO, LOWER, UPPER = (
    "SMIL, two MSE terms",
    "SMIL, ELBO",
    "lower bound (image only)",
    "upper bound (all sound kept)",
)
RIVALS = (LOWER, "zero imputation", "mean imputation", "autoencoder imputation")
SILENT = "missing audio"
CONDITIONS = {SILENT: "sound missing", CLEAN: "sound present"}


def systems(rate: float) -> tuple[System, ...]:
    """All use SMIL's own networks. The bounds impute nothing, so the rate does not matter there."""
    lost = (f"audio:{rate:g}",)
    return (
        System(SMIL, "smil", "smil", lost, attacked=False),
        System(ELBO, "smil-elbo", "smil", lost, attacked=False),
        System(LOWER, "smil-lower", "imputation", attacked=False),
        System("zero imputation", "zero-imputation", "imputation", lost, attacked=False),
        System("mean imputation", "mean-imputation", "imputation", lost, attacked=False),
        System("autoencoder imputation", "autoencoder-imputation", "imputation", lost, attacked=False),
        System("modality dropout", "zero-imputation", "modality-dropout", lost, attacked=False),
        System(UPPER, "zero-imputation", "imputation", attacked=False),
    )


def write(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""
    page.paragraph(
        "SMIL (Ma et al., AAAI 2021) on its own split of avMNIST: 1,050 training pairs, of which only a part keeps its"
        " sound. All systems",
        "use SMIL's networks. Scores are test accuracies over all 450 test samples, means over seeds ± their"
        " standard deviation.",
        DIFFERENCES,
    )
    for name, result in results.items():
        _kept(name, result, page)
    if results:
        page.picture(
            _figure(results),
            "kept",
            "Test accuracy against the share of training sound kept, sound missing and present in testing",
        )
    page.paragraph(
        "There are no published numbers to compare with: SMIL's reference code chooses its checkpoint by test accuracy,"
        " and ours does not. The upper bound was never trained without sound. docs/missing-modality.md explains why"
        " SMIL does not win here, and what was tried.",
    )


def _kept(name: str, result: Results, page: Page) -> None:
    named = [system.name for system in result.setting.systems]
    page.heading(f"{name} of the training sound kept")
    page.paragraph(f"{result.seeds}.")
    page.table(
        ["", *CONDITIONS.values(), "s of training"],
        [
            [each, *(mean_and_spread(result.scores(each, c)) for c in CONDITIONS), f"{result.seconds(each):.0f}"]
            for each in named
        ],
    )
    forms = [each for each in (SMIL, ELBO) if each in named]
    page.table(
        ["in points", *(f"{form}; {condition}" for form in forms for condition in CONDITIONS.values())],
        [[f"minus {each}", *_gains(result, forms, each)] for each in named if each not in forms]
        + [[f"minus {ELBO}", *_gains(result, forms[:1], ELBO), "", ""]][: len(forms) - 1],
    )
    page.paragraph(*(_verdict(result, form) for form in forms))


def _gains(result: Results, forms: Sequence[str], other: str) -> list[str]:
    return [points(difference(result.scores(form, c), result.scores(other, c))) for form in forms for c in CONDITIONS]


def _verdict(result: Results, form: str) -> str:
    """Whether SMIL is above its rivals, decided by the intervals."""
    gains = {
        (rival, c): difference(result.scores(form, c), result.scores(rival, c)) for rival in RIVALS for c in CONDITIONS
    }
    surely = [key for key, gain in gains.items() if gain.surely > 0]
    below = [f"{rival} with {CONDITIONS[c]}" for (rival, c), gain in gains.items() if gain.surely < 0]
    worse = f", and below {', '.join(below)}" if below else ""
    return (
        f"{form}: it is above its {len(RIVALS)} rivals ({'; '.join(RIVALS)}) by an interval that"
        f" excludes zero in {len(surely)} of {len(gains)} comparisons{worse}."
    )


def _figure(results: Mapping[str, Results]) -> go.Figure:
    from plotly.subplots import make_subplots

    figure = make_subplots(1, len(CONDITIONS), subplot_titles=list(CONDITIONS.values()), shared_yaxes=True)
    order = sorted(results, key=lambda name: -KEPT[name][0])
    named = [system.name for system in results[order[0]].setting.systems]
    for column, condition in enumerate(CONDITIONS, 1):
        for number, system in enumerate(named):
            scores = [results[name].scores(system, condition).mean(1) for name in order]
            figure.add_scatter(
                x=order,
                y=[each.mean() for each in scores],
                error_y={"array": [each.std(ddof=min(1, len(each) - 1)) for each in scores]},
                name=system,
                legendgroup=system,
                mode="markers",
                marker={"color": qualitative.D3[number % 10]},
                showlegend=column == 1,
                row=1,
                col=column,
            )
        figure.update_xaxes(title="training sound kept", row=1, col=column)
    lowest = min(
        float(result.scores(system, c).mean(1).min())
        for result in results.values()
        for system in named
        for c in CONDITIONS
    )
    figure.update_yaxes(range=[lowest - 0.02, 1.005])
    figure.update_yaxes(title="test accuracy", col=1)
    figure.update_layout(
        width=980,
        height=480,
        scattermode="group",
        scattergap=0.4,
        template="plotly_white",
        legend={"orientation": "h", "y": -0.2},
    )
    return figure


MISSING = Study(
    "missing", {name: Setting("avmnist-smil", systems(rate), effort) for name, (rate, effort) in KEPT.items()}, write
)
