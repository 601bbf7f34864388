"""The counting study: MoVie and its rivals, simple and complex questions, cost, and how little
moves a count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.colors import qualitative

from harness.analysis.intervals import Estimate
from harness.analysis.paired import difference
from harness.reproduce import robust
from harness.reproduce.counting_systems import BLIND, JOINED_MOVIE, MEAN, MOVIE, SETTINGS
from harness.reproduce.page import DIFFERENCES, Page, mean_and_spread, of_seeds, points
from harness.reproduce.results import Results
from harness.reproduce.setting import System
from harness.reproduce.study import Study
from harness.run.set_metrics import CLEAN
from harness.tasks import Batch

NOTHING = "nothing"
NAME_WIDTH = 0.5  # decades beside the first and the last point, for their names
SAYS = {  # what a model shows of how it came to its count
    MOVIE: "a map of what it modulates",
    JOINED_MOVIE: "a map of what it modulates",
    "IRLC": "which boxes it counted, one by one",
    "SoftCount": "how much each box counts",
    "UpDown": "where it looked",
    "Counter": "how much each box counts, copies removed",
    "MUTAN": "where it looked",
    MEAN: NOTHING,
    "RCN": NOTHING,
}
WHY = {  # a model may count badly
    "UpDown": "UpDown sees which share of a fixed number of regions fits, copies of an object and mistakes among them.",
    "MUTAN": (
        "MUTAN sees averages by a softmax over places, of which the share that fits has to be told (an average over"
        " what fits alone is the same of one object and of many: Zhang et al., ICLR 2018, section 3)."
    ),
    MEAN: (
        "Without attention MUTAN sees the mean of all places: how much is red, how much is round, and how much is both"
        " only where one of its 64 features says so by itself."
    ),
}
BEYOND_BLIND = 0.15  # what seeing both inputs should gain at least
CELLS_ASKED = "RBC"
PUBLISHED = (
    "Published (HowMany-QA accuracy / RMSE; the lecture's table): MUTAN 45.5 / 2.93, MoVie R-50 61.2 / 2.36; TallyQA"
    " simple 70.8 / 1.09, complex 54.1 / 1.52 (MoVie R-50). Not comparable number by number: photographs, features"
    " learnt elsewhere and far larger models there; small models that see nothing but this task here. Comparable is the"
    " order of the rows."
)


def write(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""
    page.paragraph(
        "Scores are means over seeds ± their standard deviation, of exact counts (ACC) and root mean square errors"
        " (RMSE). Robust",
        "accuracy is an upper bound found by the search at strength 1: pixels, one word of the question put in"
        " another's place that",
        f"means the same, or both. {DIFFERENCES} Proposals are those of the untouched image.",
    )
    for name, result in results.items():
        telling = robust.telling(result, MOVIE)
        _accuracy(name, result, telling, page)
        _robust(name, result, telling, page)
    page.paragraph(PUBLISHED)


def _accuracy(name: str, result: Results, telling: Mapping[str, float], page: Page) -> None:
    groups = result.task.report_groups
    page.heading(name)
    page.paragraph(
        f"{result.seeds}; the whole test split, and beside it what attacks leave of {result.scores(MOVIE).shape[1]} of"
        " its samples at the",
        f"strength that half of what {MOVIE} is right about withstands, or at 1.",
    )
    rows = []
    for system in result.setting.systems:
        cost = result.cost(system.name)
        numbers = [
            of_seeds(result.metric(system.name, f"{metric}_{group}"))
            for group in groups
            for metric in ("accuracy", "rmse")
        ]
        left = [
            mean_and_spread(result.withstood(system.name, scenario, strength)) for scenario, strength in telling.items()
        ]
        rows.append(
            [
                system.name,
                f"{cost.parameters:,}",
                f"{cost.flops / 1e6:.1f}",
                *numbers,
                *left,
                SAYS.get(system.name, NOTHING),
            ]
        )
    head = [f"{metric} {group}" for group in groups for metric in ("ACC", "RMSE")]
    page.table(["", "parameters", "MFLOPs", *head, *robust.at_strengths(telling), "what it shows of its count"], rows)
    page.paragraph(_recipes(result.setting.systems))
    page.paragraph(_shown(result, groups[0]))
    page.picture(
        _cost(result, groups[0]),
        f"{name}-cost",
        f"Accuracy on {groups[0]} questions of {name} against floating-point operations",
    )
    if CELLS_ASKED in groups:
        within = [
            [s.name, of_seeds(result.metric(s.name, f"within_two_{CELLS_ASKED}"))] for s in result.setting.systems
        ]
        page.table(["", "within 2 of the red cells"], within)


def _recipes(systems: Sequence[System]) -> str:
    """Which systems learnt by which recipe: not all as long."""
    taught: dict[str, list[str]] = {}
    for system in systems:
        taught.setdefault(system.recipe, []).append(system.name)
    told = "; ".join(f"`{recipe}` {', '.join(names)}" for recipe, names in taught.items())
    return f"Recipes: {told}. As they differ, which rival is above which says something of recipes, too."


def _shown(result: Results, group: str) -> str:
    """Interpretability against accuracy: the best model of those that show the same of their
    counts.
    """
    best: dict[str, tuple[float, str]] = {}
    for system in result.setting.systems:
        if system.name not in BLIND:
            accuracy = float(result.metric(system.name, f"accuracy_{group}").mean())
            kind = SAYS[system.name]
            best[kind] = max(best.get(kind, (0.0, "")), (accuracy, system.name))
    ranked = sorted(best.items(), key=lambda each: -each[1][0])
    told = "; ".join(f"{name} {accuracy:.3f} ({kind})" for kind, (accuracy, name) in ranked)
    return f"On {group} questions the best of those that show the same of their count: {told}."


def _cost(result: Results, group: str) -> go.Figure:
    """Accuracy against FLOPs, by what a model shows of its count; of two that are next to each
    other in accuracy names go opposite ways.
    """
    figure = go.Figure()
    systems = [system.name for system in result.setting.systems]
    shown: dict[str, list[str]] = {}
    for name in systems:
        shown.setdefault(SAYS.get(name, NOTHING), []).append(name)
    ranked = sorted(systems, key=lambda name: -float(result.metric(name, f"accuracy_{group}").mean()))
    side = {name: ("middle left", "middle right")[rank % 2] for rank, name in enumerate(ranked)}
    for number, (kind, names) in enumerate(shown.items()):
        scores = [result.metric(name, f"accuracy_{group}") for name in names]
        figure.add_scatter(
            x=[result.cost(name).flops / 1e6 for name in names],
            y=[each.mean() for each in scores],
            text=names,
            name=f"shows {kind}",
            mode="markers+text",
            textposition=[side[name] for name in names],
            cliponaxis=False,
            marker={"color": qualitative.D3[number % 10], "size": 9},
            error_y={"array": [each.std(ddof=min(1, len(each) - 1)) for each in scores]},
        )
    ends = np.log10([result.cost(name).flops / 1e6 for name in systems])
    figure.update_xaxes(
        title="MFLOPs of a forward pass", type="log", range=[ends.min() - NAME_WIDTH, ends.max() + NAME_WIDTH]
    )
    figure.update_yaxes(title=f"accuracy, {group}", rangemode="tozero")
    figure.update_layout(width=980, height=480, template="plotly_white", legend={"orientation": "h", "y": -0.2})
    return figure


def _robust(name: str, result: Results, telling: Mapping[str, float], page: Page) -> None:
    systems = [system.name for system in result.setting.systems]
    rivals = [each for each in systems if each not in (MOVIE, JOINED_MOVIE)]
    robust.write(result, systems, page)
    groups = result.task.report_groups
    left = {
        heading: {rival: robust.compared(result, MOVIE, rival, scenario, strength) for rival in rivals}
        for heading, (scenario, strength) in zip(robust.at_strengths(telling), telling.items(), strict=True)
    }
    page.paragraph(
        f"{MOVIE} against each other model: untouched, and at the strength that half of what {MOVIE} is right about"
        " withstands, or at 1:"
    )
    page.table(
        [MOVIE, *(f"clean, {group}" for group in groups), *robust.at_strengths(telling)],
        [
            [
                f"less {rival}",
                *(points(_gain(result, group, rival)) for group in groups),
                *(points(gains[rival]) for gains in left.values()),
            ]
            for rival in rivals
        ],
    )
    page.paragraph(*_verdicts(result, rivals), *_attacked(left))
    page.picture(
        _figure(result, systems, telling),
        name,
        f"Accuracy on the attacked samples of {name}, untouched and at these strengths, means over seeds",
    )
    pictured = robust.curves(result, systems, robust.scenarios_of(result))
    page.picture(pictured, f"{name}-curves", f"Robust accuracy on {name} against the strength of an attack")


def _gain(result: Results, group: str, rival: str) -> Estimate:
    """MoVie less a rival, untouched, on all test samples of a group."""
    rows = _of(result.task.splits["test"], group)
    ours, theirs = (result.whole(each)[:, rows] for each in (MOVIE, rival))
    return difference(ours, theirs)


def _verdicts(result: Results, rivals: list[str]) -> list[str]:
    """Which of the paper's claims show, decided by the intervals and not by hand."""
    said = []
    for group in result.task.report_groups:
        gains = {rival: _gain(result, group, rival) for rival in rivals}
        surely = [rival for rival, gain in gains.items() if gain.surely > 0]
        below = [rival for rival, gain in gains.items() if gain.value <= 0]
        said.append(
            f"{group}: {MOVIE} is above {len(surely)} of {len(rivals)} by an interval that excludes zero"
            f"{'; its mean is not above that of ' + ', '.join(below) if below else ''}."
        )
    ours, pairs = (result.cost(name).flops / 1e6 for name in (MOVIE, "RCN"))
    said.append(f"A forward pass of {MOVIE} takes {ours:.1f} MFLOPs, one of RCN {pairs:.1f}.")
    return said + (_cells(result) if CELLS_ASKED in result.task.report_groups else _above_blind(result, rivals))


def _attacked(left: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """Who withstands more than MoVie, and less, decided by the intervals."""
    said = []
    for heading, gains in left.items():
        under = [rival for rival, gain in gains.items() if gain.surely > 0]
        over = [rival for rival, gain in gains.items() if gain.surely < 0]
        said.append(
            f"Attacked ({heading}) {MOVIE} is above {', '.join(under) or 'none'} and below {', '.join(over) or 'none'}"
            " by such an interval."
        )
    return said


def _above_blind(result: Results, rivals: list[str]) -> list[str]:
    """Which models hardly beat those that see one input only."""
    metric = f"accuracy_{result.task.report_groups[0]}"
    best = max(float(result.metric(blind, metric).mean()) for blind in BLIND)
    above = {each: float(result.metric(each, metric).mean()) - best for each in (MOVIE, *rivals) if each not in BLIND}
    near = {each: gain for each, gain in above.items() if gain < BEYOND_BLIND}
    told = ", ".join(f"{each} ({100 * gain:+.1f})" for each, gain in near.items()) or "none"
    said = [
        f"Less than {100 * BEYOND_BLIND:.0f} points above the better blind baseline on"
        f" {result.task.report_groups[0]}: {told}."
    ]
    said += [reason for name, reason in WHY.items() if name in near]
    if "IRLC" in near:
        each = ", ".join(f"{accuracy:.3f}" for accuracy in result.metric("IRLC", metric))
        said.append(f"IRLC learns by policy gradient, from the error of the counts it draws; its seeds reach {each}.")
    return said


def _cells(result: Results) -> list[str]:
    """Red cells against the best that knows no picture: within two of a constant, and the error of
    the training mean.
    """
    splits = (result.task.splits[name] for name in ("train", "test"))
    known, asked = (split.targets[_of(split, CELLS_ASKED)].double() for split in splits)
    constant = max(float(((asked - count).abs() <= 2).double().mean()) for count in range(int(known.max()) + 1))
    error = float((asked - known.mean()).square().mean().sqrt())
    test, common = result.task.splits["test"], []
    for group in dict.fromkeys(test.groups):
        counts = test.targets[_of(test, group)]
        common.append(f"{group} {float(counts.bincount().max()) / len(counts):.3f}")
    told = []
    for movie in (MOVIE, JOINED_MOVIE):
        within, ours = (result.metric(movie, f"{metric}_{CELLS_ASKED}") for metric in ("within_two", "rmse"))
        told.append(
            f"{movie} is within 2 on {of_seeds(within)} of the photographs, its RMSE {of_seeds(ours / error)} of the"
            " training mean's."
        )
    return [
        "Red cells:",
        *told,
        f"The best constant is within 2 on {constant:.3f}; the RMSE of the training mean is {error:.3f}.",
        (
            f"Of the {len(asked)} photographs {int((asked == 0).sum())} have no red cell annotated, by error of the"
            " labels: who counts"
        ),
        "the cells they show is off by all of them.",
        f"One count for all, the best there is, would be right of {', '.join(common)}.",
        (
            f"{JOINED_MOVIE}: from more epochs, larger batches, and photographs joined of two (CutMix). As no rival"
            " learnt so, it is"
        ),
        "compared with none.",
    ]


def _of(split: Batch, group: str) -> list[int]:
    return [row for row, each in enumerate(split.groups) if each == group]


def _figure(result: Results, systems: list[str], telling: Mapping[str, float]) -> go.Figure:
    """Accuracy of every system, untouched and under each attack at its strength."""
    left = {CLEAN: [result.scores(system) for system in systems]}
    for heading, (scenario, strength) in zip(robust.at_strengths(telling), telling.items(), strict=True):
        left[heading] = [result.withstood(system, scenario, strength) for system in systems]
    figure = go.Figure()
    for number, (condition, scores) in enumerate(left.items()):
        accuracies = [each.mean(1) for each in scores]
        figure.add_bar(
            x=systems,
            y=[each.mean() for each in accuracies],
            name=condition,
            marker={"color": qualitative.D3[number % 10]},
            error_y={"array": [each.std(ddof=min(1, len(each) - 1)) for each in accuracies]},
        )
    figure.update_yaxes(title="accuracy", rangemode="tozero")
    figure.update_layout(
        width=980, height=480, barmode="group", template="plotly_white", legend={"orientation": "h", "y": -0.35}
    )
    return figure


COUNTING = Study("counting", SETTINGS, write)
