"""The translation study: channel exchange against four ways to fuse maps, at four places of a
U-Net.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from harness.analysis.intervals import Estimate
from harness.analysis.paired import difference
from harness.reproduce import robust
from harness.reproduce.page import COSTS, DIFFERENCES, MEASURED, Page, costs, of_seeds, points
from harness.reproduce.results import MISSING, Results
from harness.reproduce.setting import Effort, Setting, System
from harness.reproduce.study import Study
from harness.run.set_metrics import CLEAN
from harness.tasks.problems.distances import fid, floor, kid
from harness.tasks.problems.images import Images

RECIPE = "pix2pix"
KID, FID = "kid_rooms", "fid_rooms"
HUNDRED = 100  # times KID, as in the lecture
OPERATIONS, PLACES = ("concat", "average", "align", "attention"), ("early", "middle", "late", "all")
CEN = System("CEN", "cen-translation", RECIPE)
PUBLISHED = (  # the lecture's table: FID / KID × 100
    ("shade + texture → RGB", "62.63 / 1.65", "self-attention, all layers 73.87 / 2.46", "78.82 / 3.13"),
    ("depth + normal → RGB", "84.33 / 2.70", "96.73 / 3.95", ""),
)


def _rival(operation: str, place: str, attacked: bool = True) -> System:
    named = f"{operation}, {'all layers' if place == 'all' else place}"
    return System(named, f"translation-fusion?operation={operation}&place={place}", RECIPE, attacked=attacked)


def _alone(*modalities: str) -> tuple[System, ...]:
    return tuple(System(f"{name} only", f"pix2pix-{name}", RECIPE) for name in modalities)


def write(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""
    page.paragraph(
        "KID × 100 and FID are distances between the features of drawn and real images: lower is better. The features"
        " come from the small classifier of rooms that is in the package, which sees 48×48 pixels, and not from"
        " Inception: compare only numbers of this page. KID comes first, because its expectation does not depend on the"
        " number of images. The floor is the distance between the two halves of the real test images; no model can be"
        " expected below it.",
    )
    for name, result in results.items():
        if name == "places":
            _places(result, page)
        else:
            _compared(result, page)
    _published(page)


def _compared(result: Results, page: Page) -> None:
    systems = [each.name for each in result.setting.systems]
    page.heading(f"`{result.task.name}`")
    page.paragraph(
        f"{result.seeds}: the mean over seeds ± the standard deviation, on all"
        f" {len(result.task.splits['test'])} test images.",
        _floors(result),
    )
    page.table(["", "KID × 100", "FID", "L1", "SSIM"], [[each, *_clean(result, each)] for each in systems])
    page.paragraph(f"KID × 100 of CEN minus that of another system; below 0, CEN is better. {DIFFERENCES}")
    page.table(
        ["minus", "KID × 100"],
        [[each, points(_gain(result, each))] for each in systems if each != CEN.name],
    )
    page.paragraph(_verdict(result))
    _attacked(result, page)
    _exchange(result, page)
    page.paragraph(MEASURED)
    page.table(["", *COSTS], [[each, *costs(result.cost(each), result.seconds(each))] for each in systems])


def _clean(result: Results, system: str) -> list[str]:
    values = [HUNDRED * result.metric(system, KID), *(result.metric(system, name) for name in (FID, "l1", "ssim"))]
    return [of_seeds(each) for each in values]


def _gain(result: Results, other: str) -> Estimate:
    return difference(result.measured(CEN.name), result.measured(other))


def _floors(result: Results) -> str:
    problem = result.task.problem
    assert isinstance(problem, Images) and problem.extractor is not None
    real = problem.extractor(result.task.splits["test"].targets).double()
    return f"Floor: KID × 100 {HUNDRED * floor(kid, real):.3f}, FID {floor(fid, real):.3f}."


def _verdict(result: Results) -> str:
    """Whether CEN's KID is below its rivals' by more than the spread over seeds."""
    ours = result.metric(CEN.name, KID)
    if len(ours) < 2:
        return "One seed has no spread, so nothing is decided."
    rivals = {each.name: result.metric(each.name, KID) for each in result.setting.systems if each.name != CEN.name}
    spread = max(float(np.std(each, ddof=1)) for each in (ours, *rivals.values()))
    below = [name for name, each in rivals.items() if float(each.mean() - ours.mean()) > spread]
    others = [name for name in rivals if name not in below]
    text = (
        f"CEN's KID is below that of {len(below)} of {len(rivals)} systems by more than the largest spread over seeds"
    )
    return f"{text} ({HUNDRED * spread:.2f}){'; not below ' + ', '.join(others) if others else ''}."


def _attacked(result: Results, page: Page) -> None:
    scenarios = robust.scenarios_of(result)
    conditions = [CLEAN, *scenarios, *(f"{MISSING}{name}" for name in result.task.names)]
    systems = [each.name for each in result.setting.systems if each.attacked]
    page.paragraph(
        f"KID × 100 of the {result.measured(systems[0]).shape[1]} test images that are attacked,"
        f" {result.effort.attacked_by}, at strength 1. The attack raises the error of each image and not KID; the"
        " numbers are what that does to KID.",
    )
    page.table(
        ["", *conditions],
        [
            [each, *(of_seeds(HUNDRED * result.measured(each, condition).mean(1)) for condition in conditions)]
            for each in systems
        ],
    )


def _exchange(result: Results, page: Page) -> None:
    layers = result.metrics(CEN.name, "exchanged ")
    page.paragraph("The share of channels that CEN exchanges, per convolution of the encoder and modality:")
    page.table(
        ["", CEN.name],
        [[each.removeprefix("exchanged "), of_seeds(result.metric(CEN.name, each))] for each in layers],
    )


def _places(result: Results, page: Page) -> None:
    page.heading(f"Where to fuse, on `{result.task.name}`")
    page.paragraph(
        f"KID × 100 / FID, {result.seeds}.",
        "Beside all layers, the table above has each rival at its place with the best validation score."
        if BEST
        else "",
        "The average at the last layer is the network that averages all layers, because the skip connections above the"
        " place of fusion carry the mean of the streams.",
    )
    page.table(
        ["", *PLACES], [[each, *(_cell(result, _rival(each, place).name) for place in PLACES)] for each in OPERATIONS]
    )


def _cell(result: Results, system: str) -> str:
    return f"{HUNDRED * result.metric(system, KID).mean():.2f} / {result.metric(system, FID).mean():.2f}"


def _published(page: Page) -> None:
    page.heading("The lecture's numbers")
    page.paragraph(
        "FID / KID × 100 from the lecture's table. They are not comparable with ours: other photographs, features of"
        " Inception, every image stretched to its own range before, and the epoch and the branch chosen on the test"
        " images.",
    )
    page.table(["", "CEN", "best rival", "concat, all layers"], [list(row) for row in PUBLISHED])
    page.paragraph(
        "In the lecture, CEN is ahead of every rival. Here it is not: in the mean over seeds, every rival that reads"
        " both images has a lower KID, attention at all layers the lowest. Three differences may be the reason; none of"
        " them was tested. The images have 48 instead of 256 pixels, so that the encoder has four levels instead of"
        " eight, and channels can be exchanged at two of them. Training takes 10 epochs. And CEN, whose convolutions"
        " are shared, has the fewest parameters of all systems that read both images, attention the most (the table of"
        " costs).",
    )


BEST: Mapping[str, str] = {"average": "early", "align": "late", "attention": "middle"}
"""The place of each rival with the best validation score in `places`, where that is not all."""


def _setting(task: str, *modalities: str, full: bool = False) -> Setting:
    rivals = [_rival(each, place) for each in OPERATIONS for place in ("all", BEST.get(each, "all"))]
    return Setting(task, (CEN, *dict.fromkeys(rivals), *_alone(*modalities)), USUAL, KID, full)


USUAL = Effort(epochs=10, samples=60, attack="apgd?steps=20")
TRANSLATION = Study(
    "translation",
    {
        "shade-texture": _setting("rooms-shade-texture", "shade", "texture"),
        "places": Setting(
            "rooms-shade-texture",
            tuple(_rival(each, place, attacked=False) for each in OPERATIONS for place in PLACES),
            replace(USUAL, seeds=(0,)),
        ),
        "depth-normal": _setting("rooms-depth-normal", "depth", "normal", full=True),
    },
    write,
)
