"""The study of actions: MMTM between a skeleton and a film against each alone and its rivals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.reproduce.conditions import verdict, write_costs, write_differences, write_scores
from harness.reproduce.page import Page
from harness.reproduce.results import Results
from harness.reproduce.setting import Effort, Setting, System
from harness.reproduce.study import Study

WHAT = "Accuracy"
MMTM, LATE, PUBLISHED_CODE = "MMTM", "late fusion", "MMTM, as its code"
ALONE = ("HCN, skeleton only", "inflated net, video only")
RIVALS = (*ALONE, LATE, "GMU", "CentralNet")
PUBLISHED = (  # accuracy across subjects on NTU RGB-D, in percent
    ("HCN", "85.24", "name of the checkpoint in the reference code"),
    ("inflated ResNet-50", "83.91", "name of the checkpoint in the reference code"),
)


def write(results: Mapping[str, Results], page: Page) -> None:
    """The whole page."""
    for name, result in results.items():
        page.heading(name)
        page.paragraph(
            f"Accuracy on `{result.task.name}`, {result.seeds}: the mean over seeds ± the standard deviation.",
            f"{result.scores(MMTM).shape[1]} test samples, {result.effort.attacked_by}; attacked: the share that"
            f" withstood every attack tried at strength 1. {result.task.note.capitalize()}.",
        )
        values = result.scores
        write_scores(result, values, WHAT, page, name)
        write_differences(values, [MMTM, PUBLISHED_CODE], RIVALS, WHAT, page)
        page.paragraph(verdict(values, MMTM, [LATE, *ALONE]))
        write_costs(result, values, WHAT, page)
    _published(page)


def _published(page: Page) -> None:
    page.heading("Published numbers")
    page.paragraph(
        "Accuracy in percent on NTU RGB-D across subjects, not comparable with ours: 60 actions, films of real persons,"
        " 25 joints, and networks of fifty layers. The table holds only the numbers that stand in the reference code.",
    )
    page.table(["", "accuracy", "source"], [list(row) for row in PUBLISHED])


def _systems(epochs: int, defended: int) -> tuple[System, ...]:
    """All rows, trained for so many epochs, and the defended one for its own number of them."""
    steps = f"learning_rate=1e-3&batch_size=16&epochs={epochs}"  # HCN stays where it begins with larger steps
    evenly, both = f"scheduled?{steps}", f"two-streams?{steps}"
    return (
        System(MMTM, "action-mmtm", both),
        System(ALONE[0], "hcn", evenly),
        System(ALONE[1], "video-net", evenly),
        System(LATE, "action-late", both),
        System("GMU", "gmu", evenly),
        System("CentralNet", "central-net", both),
        System(PUBLISHED_CODE, "action-mmtm?as_published=true&gate_scale=1", both),
        System("MMTM, multi-source training", "action-mmtm", f"multi-source-adversarial?epochs={defended}&steps=3"),
    )


USUAL = Effort(samples=100, attack="apgd?steps=20")
ACTION = Study(
    "action",
    {
        "gestures": Setting("gestures", _systems(epochs=10, defended=8), USUAL),
        "msr-action3d": Setting("msr-action3d", _systems(epochs=120, defended=40), replace(USUAL, samples="all")),
    },
    write,
)
