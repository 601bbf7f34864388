"""The contrastive study: SimCLR against BYOL over batch sizes, which parts BYOL needs, and how
robust encoders without labels are.
"""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.colors import qualitative

from harness.analysis.paired import difference
from harness.reproduce import robust
from harness.reproduce.page import DIFFERENCES, Page, of_seeds, points
from harness.reproduce.results import Results
from harness.reproduce.setting import Effort, Setting, System
from harness.reproduce.study import Study
from harness.run.set_metrics import CLEAN

BATCHES = (32, 64, 128, 256, 512)
EPOCHS, USUAL = 15, 256
RANDOM, SUPERVISED, CONTRASTED = "random encoder, probed", "supervised", "InfoNCE across modalities"
METHODS = {"SimCLR": "simclr", "BYOL": "byol"}
# what BYOL needs, each taken away alone; a target that follows by momentum receives no gradient
# in any case
HELD_UP = {
    "BYOL without predictor": ("byol-{}", "&predicts=false"),
    "BYOL without momentum": ("byol-{}", "&follows=false"),
    "BYOL without momentum and stop-gradient": ("byol-{}", "&follows=false&stops=false"),
    "BYOL without batch norm in its heads": ("byol-{}?norm=false", ""),
}
GOOD = 0.95
COLLAPSED = 0.1  # of the spread of projections, which is 1 where their directions are isotropic


def at(method: str, batch: int) -> str:
    """The name of a row."""
    return f"{method}, batch {batch}"


def pretrained(method: str, modality: str, batch: int = USUAL, attacked: bool = True) -> System:
    """One method at one batch size."""
    short = METHODS[method]
    return System(
        at(method, batch), f"{short}-{modality}", f"{short}?epochs={EPOCHS}&batch_size={batch}", attacked=attacked
    )


def over_batches() -> tuple[System, ...]:
    """All rows on MNIST: both methods over batch sizes (attacked at the usual size), their
    baselines, and the collapse checks.
    """
    rows = [pretrained(method, "image", batch, attacked=batch == USUAL) for method in METHODS for batch in BATCHES]
    against = [System(RANDOM, "simclr-image", "probe"), System(SUPERVISED, "simclr-image", "probe?tuned=true")]
    lacking = [
        System(name, model.format("image"), f"byol?epochs={EPOCHS}&batch_size={USUAL}{lack}", attacked=False)
        for name, (model, lack) in HELD_UP.items()
    ]
    return (*rows, *against, *lacking)


def across(*modalities: str) -> tuple[System, ...]:
    """Each modality alone without labels, all of them contrasted with each other, and the same
    encoders with labels.
    """
    alone = [
        System(f"{method}, {name}", f"{short}-{name}", f"{short}?epochs={EPOCHS}", attacked=False)
        for name in modalities
        for method, short in METHODS.items()
    ]
    contrasted = f"infonce?epochs={2 * EPOCHS}"
    return (
        *alone,
        System(CONTRASTED, "infonce", contrasted),
        System(SUPERVISED, "infonce", "probe?tuned=true"),
        System(RANDOM, "infonce", "probe", attacked=False),
    )


def write(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""
    page.paragraph(
        "Encoders learn without labels; then they are frozen, and a linear probe is trained on them. Scores are"
        " accuracies on the whole test split, means over seeds ± their standard deviation. kNN is the vote of the 20"
        " nearest training samples. The spread describes the directions of the embedding, or of the projections that"
        " the loss sees: 1 if they are isotropic, 0 if all are the same. Robust accuracy is an upper bound found by the"
        " search at strength 1.",
        DIFFERENCES,
    )
    for name, result in results.items():
        page.heading(name if name == result.setting.task else f"{name}, task {result.setting.task}")
        page.paragraph(f"{result.seeds}.")
        if name == "mnist":
            _batches(result, page)
        else:
            _across(name, result, page)


def _batches(result: Results, page: Page) -> None:
    page.table(
        ["linear probe, by batch size", *map(str, BATCHES)],
        [
            [method, *(of_seeds(result.metric(at(method, batch), "accuracy")) for batch in BATCHES)]
            for method in METHODS
        ],
    )
    page.paragraph(*_of_batches(result))
    page.picture(_figure(result), "batches", "Accuracy of a linear probe against the batch size of pretraining")
    usual = [at(method, USUAL) for method in METHODS]
    _known(result, [*usual, RANDOM, SUPERVISED], page)
    chance = 1 - result.metric(RANDOM, "accuracy").mean()
    left = [f"{name}: {100 * (1 - result.metric(name, 'accuracy').mean()) / chance:.0f} %" for name in usual]
    page.paragraph(f"Share of the random encoder's error that remains: {'; '.join(left)}.")
    _robust("mnist", result, [*usual, SUPERVISED, RANDOM], usual, page)
    page.heading("Which parts BYOL needs", 3)
    rows = [at("BYOL", USUAL), *HELD_UP]
    _known(result, rows, page)
    fallen = [each for each in HELD_UP if result.metric(each, "projected_spread").mean() < COLLAPSED]
    worse = [
        f"{each} {100 * (result.metric(each, 'accuracy') - result.metric(rows[0], 'accuracy')).mean():+.1f}"
        for each in HELD_UP
    ]
    spread = result.metric(rows[0], "projected_spread").mean()
    left = [f"{each} {100 * result.metric(each, 'projected_spread').mean() / spread:.0f} %" for each in HELD_UP]
    page.paragraph(
        f"Collapsed (spread of the projections below {COLLAPSED}): {', '.join(fallen) or 'none'}. Share of BYOL's"
        f" spread that remains: {'; '.join(left)}. Change of the probe's accuracy in points: {'; '.join(worse)}. A"
        " target that follows by momentum receives no gradient, so the stop-gradient is removed together with the"
        " momentum.",
        _without_predictor(result, rows[0]),
    )


def _of_batches(result: Results) -> list[str]:
    """Which method needs large batches."""
    means = {
        method: [float(result.metric(at(method, batch), "accuracy").mean()) for batch in BATCHES] for method in METHODS
    }
    good = {
        method: [str(batch) for batch, mean in zip(BATCHES, each, strict=True) if mean >= GOOD]
        for method, each in means.items()
    }
    reached = " and ".join(f"by {method} at batches of {', '.join(each) or 'no size'}" for method, each in good.items())
    gains = "; ".join(f"{method} {100 * (each[0] - each[-1]):+.1f} points" for method, each in means.items())
    above = sum(byol > simclr for byol, simclr in zip(means["BYOL"], means["SimCLR"], strict=True))
    return [
        (
            f"Both methods learn from {len(result.task.splits['train']):,} images without labels. An accuracy of"
            f" {100 * GOOD:.0f} % is reached {reached}."
        ),
        f"Accuracy at batches of {BATCHES[0]} minus that at batches of {BATCHES[-1]}: {gains}.",
        f"BYOL is above SimCLR at {above} of {len(BATCHES)} sizes.",
        "The lecture's claim is that SimCLR needs large batches and BYOL does not.",
        (
            f"All runs take {EPOCHS} epochs, so batches of {BATCHES[0]} take {BATCHES[-1] // BATCHES[0]} times as many"
            f" steps as batches of {BATCHES[-1]}: this comparison does not separate the cost of small batches from the"
            " benefit of more steps."
        ),
    ]


def _without_predictor(result: Results, whole: str) -> str:
    lacking = "BYOL without predictor"
    spread, knn = (
        [float(result.metric(each, metric).mean()) for each in (whole, lacking)]
        for metric in ("projected_spread", "knn")
    )
    verdict = "collapses" if spread[1] < COLLAPSED else "shrinks but does not collapse by this measure"
    return (
        f"Without its predictor, BYOL {verdict}: the spread falls from {spread[0]:.2f} to {spread[1]:.2f}, "
        f"and kNN by {100 * (knn[0] - knn[1]):.1f} points."
    )


def _across(name: str, result: Results, page: Page) -> None:
    named = [system.name for system in result.setting.systems]
    _known(result, named, page)
    recalls = [
        f"{label} {of_seeds(result.metric(CONTRASTED, metric))}" for metric, label in _retrieved(result, CONTRASTED)
    ]
    count = len(result.task.splits["test"])
    page.paragraph(
        f"Retrieval with {CONTRASTED} among all {count} test samples (the partner is the same sample in the other"
        f" modality). Shares of queries, as means over ordered pairs of modalities: {'; '.join(recalls)}."
    )
    page.paragraph(
        f"By chance the partner is first in {1 / count:.4f} of cases. Where a task pairs samples by class, many samples"
        " fit as well as the partner.",
        f"Three models read all modalities: {CONTRASTED}; {SUPERVISED}; {RANDOM}. The other models read the modality in"
        " their name.",
    )
    _robust(name, result, [CONTRASTED, SUPERVISED], [CONTRASTED], page)


def _retrieved(result: Results, name: str) -> list[tuple[str, str]]:
    labels = {
        "recall_at_1": "the partner is first",
        "recall_at_5": "the partner is among the first five",
        "same_class_at_1": "the first result has the same class",
    }
    return [(metric, label) for metric, label in labels.items() if result.knows(name, metric)]


def _known(result: Results, named: list[str], page: Page) -> None:
    columns = {
        "accuracy": "linear probe",
        "knn": "kNN",
        "spread": "spread",
        "projected_spread": "spread of the projections",
    }
    known = {metric: label for metric, label in columns.items() if result.knows(named[0], metric)}
    page.table(
        ["", *known.values()], [[each, *(of_seeds(result.metric(each, metric)) for metric in known)] for each in named]
    )


def _robust(name: str, result: Results, named: list[str], own: list[str], page: Page) -> None:
    robust.write(result, named, page)
    strengths = robust.comparison_strengths(result, SUPERVISED)
    page.paragraph(
        "Differences on untouched inputs and under attack. The strength of each attack is the median critical strength"
        f" of the {SUPERVISED} encoder, but at most 1:"
    )
    page.table(
        [f"minus {SUPERVISED}", CLEAN, *robust.at_strengths(strengths)],
        [
            [
                each,
                points(difference(result.scores(each), result.scores(SUPERVISED))),
                *(
                    points(robust.compared(result, each, SUPERVISED, scenario, strength))
                    for scenario, strength in strengths.items()
                ),
            ]
            for each in own
        ],
    )
    pictured = robust.curves(result, named, robust.scenarios_of(result))
    page.picture(pictured, f"{name}-curves", f"Robust accuracy on {name} against the strength of an attack")


def _figure(result: Results) -> go.Figure:
    """The probe's accuracy against the batch size, one line per method."""
    figure = go.Figure()
    for number, method in enumerate(METHODS):
        scores = [result.metric(at(method, batch), "accuracy") for batch in BATCHES]
        figure.add_scatter(
            x=[str(batch) for batch in BATCHES],
            y=[each.mean() for each in scores],
            name=method,
            mode="lines+markers",
            line={"color": qualitative.D3[number]},
            error_y={"array": [each.std(ddof=min(1, len(each) - 1)) for each in scores]},
        )
    figure.update_xaxes(title="batch size", type="category")
    figure.update_yaxes(title="accuracy of a linear probe")
    figure.update_layout(width=760, height=420, template="plotly_white", legend={"orientation": "h", "y": -0.2})
    return figure


CONTRASTIVE = Study(
    "contrastive",
    {
        "mnist": Setting("mnist", over_batches(), Effort(samples=64)),
        "avmnist": Setting("avmnist", across("image", "audio"), Effort(samples=48)),
        "digits": Setting("digits", across("image", "audio", "text"), Effort(samples=48)),
        "scenes": Setting("vqa", across("image", "question"), Effort(samples=48)),
    },
    write,
)
