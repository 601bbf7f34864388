"""The counting study: MoVie and its rivals, simple and complex questions, cost, and how small a
change of the input changes a count.
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
SHOWN = {  # how a model explains its count
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
    "UpDown": "UpDown sees the share of a fixed number of regions that fit, with copies of objects and mistakes.",
    "MUTAN": (
        "MUTAN sees averages over places, weighted by a softmax, and has to infer the share of places that fit (an"
        " average over the fitting places alone is the same for one object and for many: Zhang et al., ICLR 2018,"
        " section 3)."
    ),
    MEAN: (
        "Without attention, MUTAN sees the mean of all places: how much is red and how much is round. It sees how much"
        " is both only if one of its 64 features shows both."
    ),
}
BEYOND_BLIND = 0.15  # what seeing both inputs should gain at least
RED_CELLS = "RBC"
PUBLISHED = (
    "Published (HowMany-QA accuracy / RMSE; the lecture's table): MUTAN 45.5 / 2.93, MoVie R-50 61.2 / 2.36; TallyQA"
    " simple 70.8 / 1.09, complex 54.1 / 1.52 (MoVie R-50). The numbers cannot be compared one by one: the"
    " published models are far larger and use photographs and features learnt elsewhere; ours are small and see nothing"
    " but this task. The order of the rows can be compared."
)


def write(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""
    page.paragraph(
        "Scores are means over seeds ± their standard deviation: the share of exact counts (ACC) and the root mean"
        " square error (RMSE). Robust accuracy is an upper bound found by the search at strength 1. An attack changes"
        " pixels, replaces one word of the question by another with the same meaning, or does both.",
        f"{DIFFERENCES} The region proposals are those of the untouched image.",
    )
    for name, result in results.items():
        strengths = robust.comparison_strengths(result, MOVIE)
        _accuracy(name, result, strengths, page)
        _robust(name, result, strengths, page)
    page.paragraph(PUBLISHED)


def _accuracy(name: str, result: Results, strengths: Mapping[str, float], page: Page) -> None:
    groups = result.task.report_groups
    page.heading(name)
    page.paragraph(
        f"{result.seeds}. ACC and RMSE are those of the whole test split. The columns with an attack give the accuracy"
        f" under this attack on {result.scores(MOVIE).shape[1]} test samples. The strength of the attack is the median"
        f" critical strength of {MOVIE}, but at most 1.",
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
            mean_and_spread(result.withstood(system.name, scenario, strength))
            for scenario, strength in strengths.items()
        ]
        rows.append(
            [
                system.name,
                f"{cost.parameters:,}",
                f"{cost.flops / 1e6:.1f}",
                *numbers,
                *left,
                SHOWN.get(system.name, NOTHING),
            ]
        )
    head = [f"{metric} {group}" for group in groups for metric in ("ACC", "RMSE")]
    page.table(["", "parameters", "MFLOPs", *head, *robust.at_strengths(strengths), "how it explains its count"], rows)
    page.paragraph(_recipes(result.setting.systems))
    page.paragraph(_shown(result, groups[0]))
    page.picture(
        _cost(result, groups[0]),
        f"{name}-cost",
        f"Accuracy on {groups[0]} questions of {name} against floating-point operations",
    )
    if RED_CELLS in groups:
        within = [[s.name, of_seeds(result.metric(s.name, f"within_two_{RED_CELLS}"))] for s in result.setting.systems]
        page.table(["", "within 2 of the red cells"], within)


def _recipes(systems: Sequence[System]) -> str:
    """Which systems learnt by which recipe."""
    taught: dict[str, list[str]] = {}
    for system in systems:
        taught.setdefault(system.recipe, []).append(system.name)
    listed = ". ".join(f"`{recipe}`: {'; '.join(names)}" for recipe, names in taught.items())
    return f"Recipes: {listed}. The recipes differ, so the order of the rivals also depends on the recipes."


def _shown(result: Results, group: str) -> str:
    """Interpretability against accuracy: the best model of each way to explain a count."""
    best: dict[str, tuple[float, str]] = {}
    for system in result.setting.systems:
        if system.name not in BLIND:
            accuracy = float(result.metric(system.name, f"accuracy_{group}").mean())
            kind = SHOWN[system.name]
            best[kind] = max(best.get(kind, (0.0, "")), (accuracy, system.name))
    ranked = sorted(best.items(), key=lambda each: -each[1][0])
    listed = "; ".join(f"{name} {accuracy:.3f} ({kind})" for kind, (accuracy, name) in ranked)
    return f"For each way to explain a count, the best model on {group} questions: {listed}."


def _cost(result: Results, group: str) -> go.Figure:
    """Accuracy against FLOPs, by the way in which a model explains its count. The names of two
    models that are neighbours in accuracy stand on opposite sides.
    """
    figure = go.Figure()
    systems = [system.name for system in result.setting.systems]
    shown: dict[str, list[str]] = {}
    for name in systems:
        shown.setdefault(SHOWN.get(name, NOTHING), []).append(name)
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


def _robust(name: str, result: Results, strengths: Mapping[str, float], page: Page) -> None:
    systems = [system.name for system in result.setting.systems]
    rivals = [each for each in systems if each not in (MOVIE, JOINED_MOVIE)]
    robust.write(result, systems, page)
    groups = result.task.report_groups
    left = {
        heading: {rival: robust.compared(result, MOVIE, rival, scenario, strength) for rival in rivals}
        for heading, (scenario, strength) in zip(robust.at_strengths(strengths), strengths.items(), strict=True)
    }
    page.paragraph(
        f"{MOVIE} minus each other model, on untouched inputs and under attack. The strength of each attack is the"
        f" median critical strength of {MOVIE}, but at most 1:"
    )
    page.table(
        [MOVIE, *(f"clean, {group}" for group in groups), *robust.at_strengths(strengths)],
        [
            [
                f"minus {rival}",
                *(points(_gain(result, group, rival)) for group in groups),
                *(points(gains[rival]) for gains in left.values()),
            ]
            for rival in rivals
        ],
    )
    page.paragraph(*_verdicts(result, rivals), *_attacked(left))
    page.picture(
        _figure(result, systems, strengths),
        name,
        f"Accuracy on the attacked samples of {name}: clean, and at the strengths of the table; means over seeds",
    )
    pictured = robust.curves(result, systems, robust.scenarios_of(result))
    page.picture(pictured, f"{name}-curves", f"Robust accuracy on {name} against the strength of an attack")


def _gain(result: Results, group: str, rival: str) -> Estimate:
    """MoVie minus a rival, untouched, on all test samples of a group."""
    rows = _of(result.task.splits["test"], group)
    ours, theirs = (result.whole(each)[:, rows] for each in (MOVIE, rival))
    return difference(ours, theirs)


def _verdicts(result: Results, rivals: list[str]) -> list[str]:
    """Which of the paper's claims hold, decided by the intervals and not by hand."""
    sentences = []
    for group in result.task.report_groups:
        gains = {rival: _gain(result, group, rival) for rival in rivals}
        surely = [rival for rival, gain in gains.items() if gain.surely > 0]
        below = [rival for rival, gain in gains.items() if gain.value <= 0]
        sentences.append(
            f"On {group} questions, {MOVIE} is above {len(surely)} of {len(rivals)} models by an interval that excludes"
            " zero"
            f"{'; its mean is not above that of ' + ', '.join(below) if below else ''}."
        )
    ours, pairs = (result.cost(name).flops / 1e6 for name in (MOVIE, "RCN"))
    sentences.append(f"A forward pass takes {ours:.1f} MFLOPs in {MOVIE} and {pairs:.1f} in RCN.")
    return sentences + (_cells(result) if RED_CELLS in result.task.report_groups else _above_blind(result, rivals))


def _attacked(left: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """Which models are more robust than MoVie, and which less, decided by the intervals."""
    sentences = []
    for heading, gains in left.items():
        under = [rival for rival, gain in gains.items() if gain.surely > 0]
        over = [rival for rival, gain in gains.items() if gain.surely < 0]
        sentences.append(
            f"Under attack ({heading}), by an interval that excludes zero, {MOVIE} is above these models:"
            f" {'; '.join(under) or 'none'}; and below these: {'; '.join(over) or 'none'}."
        )
    return sentences


def _above_blind(result: Results, rivals: list[str]) -> list[str]:
    """Which models are hardly better than those that see only one input."""
    metric = f"accuracy_{result.task.report_groups[0]}"
    best = max(float(result.metric(blind, metric).mean()) for blind in BLIND)
    above = {each: float(result.metric(each, metric).mean()) - best for each in (MOVIE, *rivals) if each not in BLIND}
    near = {each: gain for each, gain in above.items() if gain < BEYOND_BLIND}
    listed = ", ".join(f"{each} ({100 * gain:+.1f})" for each, gain in near.items()) or "none"
    sentences = [
        f"Models that are less than {100 * BEYOND_BLIND:.0f} points above the better blind baseline on"
        f" {result.task.report_groups[0]} questions: {listed}."
    ]
    sentences += [reason for name, reason in WHY.items() if name in near]
    if "IRLC" in near:
        each = ", ".join(f"{accuracy:.3f}" for accuracy in result.metric("IRLC", metric))
        sentences.append(
            f"IRLC learns by policy gradient, from the errors of the counts that it draws; its seeds reach {each}."
        )
    return sentences


def _cells(result: Results) -> list[str]:
    """Red cells, compared with the best guesses that need no image: the share within two of a
    constant, and the error of the training mean.
    """
    splits = (result.task.splits[name] for name in ("train", "test"))
    learnt, tested = (split.targets[_of(split, RED_CELLS)].double() for split in splits)
    constant = max(float(((tested - count).abs() <= 2).double().mean()) for count in range(int(learnt.max()) + 1))
    error = float((tested - learnt.mean()).square().mean().sqrt())
    test, common = result.task.splits["test"], []
    for group in dict.fromkeys(test.groups):
        counts = test.targets[_of(test, group)]
        common.append(f"{group} {float(counts.bincount().max()) / len(counts):.3f}")
    sentences = []
    for movie in (MOVIE, JOINED_MOVIE):
        within, ours = (result.metric(movie, f"{metric}_{RED_CELLS}") for metric in ("within_two", "rmse"))
        sentences.append(
            f"{movie} is within 2 on {of_seeds(within)} of the photographs; its RMSE is {of_seeds(ours / error)} of"
            " that of the training mean."
        )
    return [
        "Red cells:",
        *sentences,
        f"A constant is the same count for every photograph. The best constant is within 2 on {constant:.3f} of the"
        f" photographs; the RMSE of the training mean is {error:.3f}.",
        (
            f"In {int((tested == 0).sum())} of the {len(tested)} photographs no red cell is annotated. This is an error"
            " of the labels. If a model counts the cells in such a photograph, its error is the full number of these"
            " cells."
        ),
        f"The best constant would be right on these shares: {', '.join(common)}.",
        (
            f"{JOINED_MOVIE} learns with more epochs, larger batches, and photographs joined from two (CutMix). No"
            " rival was trained in this way, so it is not compared with the rivals."
        ),
    ]


def _of(split: Batch, group: str) -> list[int]:
    return [row for row, each in enumerate(split.groups) if each == group]


def _figure(result: Results, systems: list[str], strengths: Mapping[str, float]) -> go.Figure:
    """Accuracy of every system, untouched and under each attack at its strength."""
    left = {CLEAN: [result.scores(system) for system in systems]}
    for heading, (scenario, strength) in zip(robust.at_strengths(strengths), strengths.items(), strict=True):
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
