"""The fusion study: single-source and several-source attacks, their defences, bottleneck attention,
cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attacks.scenario import Scenario
from harness.analysis.intervals import Estimate
from harness.analysis.paired import difference
from harness.reproduce.page import COSTS, DIFFERENCES, Page, costs, mean_and_spread, of_seeds, points
from harness.reproduce.results import Results
from harness.reproduce.robust import curves
from harness.reproduce.setting import Effort, Setting, System
from harness.reproduce.study import Study
from harness.run.set_metrics import CLEAN

ALONE, SEVERAL = "single-source-adversarial", "multi-source-adversarial"
ORACLE = "oracle"
OURS = "odd-one-out robust fusion"
PLAIN = (System("concat", "concat"), System("mean", "mean"))
DEFENDED = (
    System("LEL + robust", "latent-ensemble", ALONE),
    System("gating + robust", "gating", ALONE),
    System(OURS, "robust-fusion", ALONE),
)
RIVALS = tuple(system.name for system in (*PLAIN, *DEFENDED) if system.name != OURS)
BEYOND = System("concat + the same training", "concat", ALONE)
TOGETHER = (
    System("concat, multi-source training", "concat", SEVERAL),
    System("robust fusion, multi-source training", "robust-fusion", SEVERAL),
    System("concat, VARMAT", "concat", "varmat"),
    System("CRMT", "crmt", "crmt"),
)
ATTENTION = tuple(
    System(name, name, attacked=False) for name in ("mbt-early", "mbt", "attention-early", "attention", "mbt-late")
)
PUBLISHED = {  # Yang et al., CVPR 2021
    "digits": (
        "EPIC-Kitchens action accuracy, clean / visual / motion / audio attack (Yang et al., CVPR 2021): concat"
        " 30.2/0.0/0.0/0.0, mean 27.6/0.0/0.0/0.0, LEL + robust 30.5/6.6/12.0/8.0, gating + robust 30.6/6.2/14.3/7.0,"
        " odd-one-out 31.4/16.8/22.1/22.1, oracle -/21.9/23.8/25.6. The numbers cannot be compared one by one: their"
        " data and modalities are different, their models larger, and their attack has a fixed strength where ours is a"
        " search. The order of the rows can be compared."
    ),
    "avmnist": (
        "There are no published numbers to compare with. With two modalities, no majority can show which of them is the"
        " odd one. Only two things can: the traces of attacks, learnt by training against them, and the experts of one"
        " modality each."
    ),
    "mosi": (
        "CMU-MOSI, 2 classes (Yang et al., CVPR 2021), clean, then audio / video / text attacked: concat 79.82,"
        " 56.92/51.23/39.50; mean 78.09, 52.63/49.37/35.50; oracle 78.64/73.36/69.82. The numbers cannot be compared"
        " one by one: their features and radii are different from ours."
    ),
}


def oracles(*modalities: str) -> tuple[System, ...]:
    """The leave-one-out models. An attack on the absent modality cannot change their score."""
    return tuple(System(f"{ORACLE} {name}", f"without-{name}", attacked=False) for name in modalities)


def write(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""
    page.paragraph(
        "Scores are means over seeds ± their standard deviation. Robust scores are upper bounds found by the search at"
        " strength 1, which is the radius of the training. The search is white-box: it uses gradients through the whole"
        f" model. {DIFFERENCES} Every system sees the same test samples. The oracle is the model that does not read the"
        " attacked modality (leave-one-out). LEL is the latent ensemble layer. The names with '+ robust' or 'the same"
        f" training' use recipe `{ALONE}`, and those with 'multi-source training' use recipe `{SEVERAL}`.",
    )
    for name, result in results.items():
        if name == "attention":
            _bottleneck(result, page)
        else:
            _single_source(name, result, page)
            if any(system in result.setting.systems for system in TOGETHER):
                _several(result, page)
    if "mosi" in results:
        _dominance(results["mosi"], page)
    if "digits" in results:
        _costs(results["digits"], page)


def _scenarios(result: Results) -> tuple[list[Scenario], Scenario]:
    """Each modality attacked alone, and all."""
    *singles, joint = result.task.scenarios()
    return singles, joint


def _single_source(name: str, result: Results, page: Page) -> None:
    singles, _ = _scenarios(result)
    named = [system.name for system in result.setting.systems if not system.name.startswith(ORACLE)]
    page.heading(f"One modality attacked: {name}")
    page.paragraph(_counted(result))
    head = ["", CLEAN, *map(str, singles)]
    oracle = [mean_and_spread(result.scores(f"{ORACLE} {single.attacked_names[0]}")) for single in singles]
    rows = [
        [
            system,
            mean_and_spread(result.scores(system)),
            *(mean_and_spread(result.scores(system, str(single))) for single in singles),
        ]
        for system in named
    ]
    page.table(head, [[f"{ORACLE} (leave-one-out)", "-", *oracle], *rows])
    page.paragraph(f"{OURS.capitalize()} minus each other system; then the oracle's score minus that of each system:")
    page.table(
        head,
        [
            [
                f"minus {other}",
                points(difference(result.scores(OURS), result.scores(other))),
                *(points(difference(result.scores(OURS, str(s)), result.scores(other, str(s)))) for s in singles),
            ]
            for other in named
            if other != OURS
        ],
    )
    page.table(
        ["gap to the oracle", *map(str, singles)],
        [
            [
                system,
                *(
                    points(difference(result.scores(f"{ORACLE} {s.attacked_names[0]}"), result.scores(system, str(s))))
                    for s in singles
                ),
            ]
            for system in named
        ],
    )
    page.paragraph(*_verdicts(result, singles))
    page.paragraph(
        "The table does not separate two causes: the odd-one-out network, and its experts, which are the only ones that"
        " learn the task with a modality left out.",
    )
    if name in PUBLISHED:
        page.paragraph(PUBLISHED[name])
    page.picture(
        curves(result, named, [str(single) for single in singles]),
        name,
        f"Robust score against strength on {name}, means over seeds",
    )


def _counted(result: Results) -> str:
    effort = result.effort
    balls = ", ".join(map(str, _scenarios(result)[0]))
    return f"{result.seeds}, {result.scores(RIVALS[0]).shape[1]} test samples, search `{effort.search}`; {balls}."


def _verdicts(result: Results, singles: Sequence[Scenario]) -> list[str]:
    """Which of the paper's claims hold, decided by the intervals and not by hand."""
    fallen = [
        (plain.name, s)
        for plain in PLAIN
        for s in singles
        if difference(result.scores(f"{ORACLE} {s.attacked_names[0]}"), result.scores(plain.name, str(s))).surely > 0
    ]
    every = len(PLAIN) * len(singles)
    above = [(rival, s) for rival in RIVALS for s in singles if _gain(result, rival, s).value > 0]
    surely = [(rival, s) for rival in RIVALS for s in singles if _gain(result, rival, s).surely > 0]
    lost = max(difference(result.scores(rival), result.scores(OURS)).value for rival in (plain.name for plain in PLAIN))
    over_all = [str(s) for s in singles if all((rival, s) in surely for rival in RIVALS)]
    named = f" ({', '.join(over_all)})" if over_all else ""
    where = f"{len(over_all)} of {len(singles)} attacks{named}"
    pairs = len(RIVALS) * len(singles)
    exceptions = [
        f"{rival} under {s} ({points(_gain(result, rival, s))})"
        for rival in RIVALS
        for s in singles
        if (rival, s) not in above
    ]
    return [
        (
            "Fusion with plain training falls below the oracle, by an interval that excludes zero, in"
            f" {len(fallen)} of {every} pairs of model and attack."
        ),
        (
            f"Odd-one-out robust fusion is above its rivals ({', '.join(RIVALS)}) in {len(above)} of {pairs} pairs of"
            " rival and attack,"
        ),
        (
            f"in {len(surely)} by an interval that excludes"
            f" zero{'' if not exceptions else '; it is not above ' + ', '.join(exceptions)}."
        ),
        f"Under {where}, it is above every rival by an interval that excludes zero.",
        f"Its clean score minus the better one of concat and mean: {-100 * lost:+.1f} points.",
    ]


def _gain(result: Results, rival: str, scenario: Scenario) -> Estimate:
    return difference(result.scores(OURS, str(scenario)), result.scores(rival, str(scenario)))


def _several(result: Results, page: Page) -> None:
    _, joint = _scenarios(result)
    named = [system.name for system in result.setting.systems if not system.name.startswith(ORACLE)]
    page.heading("All modalities attacked at once")
    page.paragraph(f"`{joint}` on {result.task.name}, at strengths 1 and 1/2.")
    halves = {system: (result.strengths(system, str(joint)) > 0.5).astype(float) for system in named}
    page.table(
        ["", CLEAN, "strength 1/2", "strength 1", f"minus {OURS}, 1/2", f"minus {OURS}, 1"],
        [
            [
                system,
                mean_and_spread(result.scores(system)),
                mean_and_spread(halves[system]),
                mean_and_spread(result.scores(system, str(joint))),
                "" if system == OURS else points(difference(halves[system], halves[OURS])),
                (
                    ""
                    if system == OURS
                    else points(difference(result.scores(system, str(joint)), result.scores(OURS, str(joint))))
                ),
            ]
            for system in named
        ],
    )
    page.picture(
        curves(result, named, [str(joint)]),
        "several",
        "Robust score against strength, all modalities attacked, means over seeds",
    )


def _bottleneck(result: Results, page: Page) -> None:
    page.heading("Bottleneck against full attention, over the fusion layer")
    page.paragraph(
        f"On {result.task.name}, complete inputs, {result.seeds}, four layers per modality. Late fusion",
        "exchanges nothing, so it is the same with and without a bottleneck.",
    )
    layers = {
        "mbt-early": ("0", "bottleneck"),
        "mbt": ("2", "bottleneck"),
        "attention-early": ("0", "full"),
        "attention": ("2", "full"),
    }
    rows = []
    for system in result.setting.systems:
        spent = result.cost(system.name)
        where, kind = layers.get(system.name, ("4 (late)", "none"))
        rows.append(
            [
                system.name,
                where,
                kind,
                mean_and_spread(result.scores(system.name)),
                *costs(spent, result.seconds(system.name)),
            ]
        )
    page.table(["", "fusion from layer", "attention across modalities", "accuracy", *COSTS], rows)
    gains = [
        "mbt-early minus attention-early"
        f" {points(difference(result.scores('mbt-early'), result.scores('attention-early')))}"
    ]
    gains.append(f"mbt minus attention {points(difference(result.scores('mbt'), result.scores('attention')))}")
    page.paragraph(f"In points: {'; '.join(gains)}.")


def _costs(result: Results, page: Page) -> None:
    page.heading("Cost beside accuracy")
    page.paragraph(
        f"On {result.task.name}. FLOPs are those of matrix products, convolutions and attention; a multiply-add counts"
        " as two. Times of a forward pass are measured in a batch of 64. All times are of trials that share the"
        " machine, so they depend on its load: to compare systems, use their operations.",
    )
    singles, _ = _scenarios(result)
    rows = []
    for system in result.setting.systems:
        if not system.name.startswith(ORACLE):
            worst = min(result.scores(system.name, str(s)).mean() for s in singles)
            accuracy = [f"{result.scores(system.name).mean():.3f}", f"{worst:.3f}"]
            rows.append([system.name, *accuracy, *costs(result.cost(system.name), result.seconds(system.name))])
    page.table(["", CLEAN, "worst single source", *COSTS], rows)


def _dominance(result: Results, page: Page) -> None:
    page.heading("Which modality matters most for mosi")
    page.paragraph(
        "Exact Shapley values of the modalities for the score of concat, means over seeds. Their sum is its score minus"
        " its score with nothing present.",
    )
    values = result.shapley("concat")
    page.table(["", *values], [["Shapley value", *(f"{value:+.3f}" for value in values.values())]])
    metrics = {name: of_seeds(result.metric("concat", name)) for name in ("accuracy", "balanced_accuracy", "macro_f1")}
    page.paragraph(
        "Concat on the whole test split:",
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in metrics.items()) + ".",
    )


USUAL = Effort()


def _of(task: str, *modalities: str, effort: Effort = USUAL, more: tuple[System, ...] = ()) -> Setting:
    return Setting(task, (*oracles(*modalities), *PLAIN, *DEFENDED, BEYOND, *more), effort)


FUSION = Study(
    "fusion",
    {
        "digits": _of("digits", "image", "audio", "text", more=TOGETHER),
        "avmnist": _of("avmnist", "image", "audio", effort=Effort(epochs=5, samples=200)),
        "mosi": _of("mosi", "text", "audio", "video"),
        "attention": Setting("digits", ATTENTION, Effort(epochs=12)),
    },
    write,
)
