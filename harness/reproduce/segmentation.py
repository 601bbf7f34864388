"""The segmentation study: channel exchange and AsymFusion against one modality and against the
rivals of the lecture's table, untouched, attacked and with a modality missing.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.paired import difference
from harness.reproduce import robust
from harness.reproduce.conditions import verdict, write_costs, write_differences, write_scores
from harness.reproduce.page import Page, mean_and_spread, of_seeds, points
from harness.reproduce.results import MISSING, Results
from harness.reproduce.setting import Effort, Setting, System, reading
from harness.reproduce.study import Study
from harness.run.set_metrics import CLEAN

METRIC, WHAT, EVENLY = "miou", "Mean IoU", "scheduled"
MODALITIES = ("rgb", "depth")
ALONE = tuple(System(f"{name} only", f"refinenet-{name}", EVENLY) for name in MODALITIES)
EARLY, LATE = (System(f"{place} concat", f"refinenet-concat-{place}", EVENLY) for place in ("early", "late"))
CEN, ASYMFUSION = (
    System("CEN", "cen", "cen", reads=MODALITIES),
    System("AsymFusion", "asymfusion", "asymfusion", reads=MODALITIES),
)
RIVALS = (
    *ALONE,
    EARLY,
    LATE,
    System("all-layer concat", "refinenet-concat-all", EVENLY),
    System("FuseNet", "fusenet", EVENLY),
    System("SSMA", "ssma", EVENLY),
    System("RDFNet", "rdfnet", EVENLY),
)
UNEXCHANGED = System("CEN, θ = 0", "cen?threshold=0", "cen")
DEFENDED = System(
    "late concat, multi-source training", "refinenet-concat-late", "multi-source-adversarial?epochs=8&steps=3"
)
POINTS = System("Perceiver", "perceiver-points")
PUBLISHED = (  # the lecture's table: pixel accuracy, mean accuracy, mIoU in percent
    ("RefineNet, RGB only", "ResNet-101", "73.8 / 59.0 / 46.5", ""),
    ("RefineNet, depth only", "ResNet-101", "64.0 / 45.6 / 34.3", ""),
    ("AsymFusion", "ResNet-101", "76.6 / 63.5 / 50.8", ""),
    ("AsymFusion", "ResNet-152", "77.0 / 64.0 / 51.2", ""),
    ("CEN, one scale", "RefineNet, ResNet-101", "76.2 / 62.8 / 51.1", "82.0 / 60.9 / 49.6"),
    ("CEN", "RefineNet, ResNet-101", "77.2 / 63.7 / 51.7", "82.8 / 61.9 / 50.2"),
    ("CEN", "RefineNet, ResNet-152", "77.4 / 64.8 / 52.2", "83.2 / 62.5 / 50.8"),
    ("CEN", "PSPNet, ResNet-152", "77.7 / 65.0 / 52.5", "83.5 / 63.2 / 51.1"),
)


def write(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""
    if "rooms" in results:
        result = results["rooms"]
        _scores(result, page)
        _differences(result, page)
        _branches(result, page)
        _exchange(result, page)
        write_costs(result, result.measured, WHAT, page)
    if "rooms-points" in results:
        _points(results["rooms-points"], page)
    _published(page)


def _scores(result: Results, page: Page) -> None:
    page.heading("Untouched, attacked, missing")
    page.paragraph(
        f"Mean IoU on `{result.task.name}`, {result.seeds}: the mean over seeds ± the standard deviation.",
        f"{result.measured(CEN.name).shape[1]} test rooms, {result.effort.attacked_by} at strength 1 through the"
        " whole model. Attacked numbers are upper bounds: a longer attack may find worse answers.",
        "All models have the same small ResNet and decoder, and train for as many epochs, without pretrained weights.",
    )
    write_scores(result, result.measured, WHAT, page, "conditions")


def _differences(result: Results, page: Page) -> None:
    page.heading("Do channel exchange and AsymFusion help?")
    ours = (CEN.name, ASYMFUSION.name)
    write_differences(result.measured, ours, [each.name for each in RIVALS], WHAT, page)
    better = max((each.name for each in ALONE), key=lambda name: float(result.measured(name).mean()))
    page.paragraph(*(verdict(result.measured, one, (better, EARLY.name, LATE.name)) for one in ours))


def _branches(result: Results, page: Page) -> None:
    page.heading("Attack depth, read each branch")
    page.paragraph(
        "One network runs on each modality. Depth is attacked alone, through the branch that is read. The RGB branch"
        " sees depth only by the channels that it takes from there.",
    )
    depth = next(each for each in robust.scenarios_of(result) if each.startswith("depth@"))
    conditions = [CLEAN, depth, f"{MISSING}depth"]
    rows = [
        [each.name, read or "ensemble", *(mean_and_spread(result.measured(name, one)) for one in conditions)]
        for each in (CEN, ASYMFUSION)
        for read in (*each.reads, "")
        for name in (reading(each.name, read) if read else each.name,)
    ]
    page.table(["", "read", *conditions], rows)


def _exchange(result: Results, page: Page) -> None:
    page.heading("How many channels are exchanged")
    page.paragraph(
        "The share of channels whose scale γ is below θ, per bottleneck and modality. Bottleneck 3.2 is the second of"
        " the third stage. At most half of a modality's channels can be exchanged by the L1 norm alone, because it"
        " counts only that modality's own half.",
    )
    systems = (CEN, UNEXCHANGED)
    layers = result.metrics(CEN.name, "exchanged ")
    page.table(
        ["bottleneck and modality", *(each.name for each in systems)],
        [
            [name.removeprefix("exchanged "), *(of_seeds(result.metric(each.name, name)) for each in systems)]
            for name in layers
        ],
    )
    gain = difference(result.measured(CEN.name), result.measured(UNEXCHANGED.name))
    page.paragraph(f"CEN minus CEN with θ = 0, mean IoU in points: {points(gain)}.")


def _points(result: Results, page: Page) -> None:
    page.heading("A point cloud through the Perceiver")
    scenario = robust.scenarios_of(result)[0]
    page.paragraph(
        f"`{result.task.name}`: points from the depth of the same rooms; which of pillar, box and ball are there? The"
        f" score is 1 where all three answers are right. {result.seeds}, {result.scores(POINTS.name).shape[1]} rooms.",
    )
    f1 = of_seeds(result.metric(POINTS.name, "micro_f1"))
    scores = [mean_and_spread(result.scores(POINTS.name, condition)) for condition in (CLEAN, scenario)]
    page.table(["", "all right", f"all right, {scenario}", "micro F1, untouched"], [[POINTS.name, *scores, f1]])


def _published(page: Page) -> None:
    page.heading("The lecture's numbers")
    page.paragraph(
        "Pixel accuracy / mean accuracy / mean IoU in percent, from the lecture's table. They are not comparable with"
        " ours: other photographs, 40 and 37 classes, pretrained encoders of 101 and 152 layers, hundreds of epochs,"
        " and for CEN the epoch and the output that are best on the test images. Comparable is which system is above"
        " which.",
    )
    page.table(["", "encoder", "NYUDv2", "SUN RGB-D"], [list(row) for row in PUBLISHED])


SEGMENTATION = Study(
    "segmentation",
    {
        "rooms": Setting(
            "rooms",
            (*RIVALS, CEN, UNEXCHANGED, ASYMFUSION, DEFENDED),
            Effort(samples=60, attack="cospgd?steps=20"),
            METRIC,
        ),
        "rooms-points": Setting("rooms-points", (POINTS,), Effort(samples=200)),
    },
    write,
)
