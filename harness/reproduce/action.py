"""The study of actions: MMTM between a skeleton and a film against each alone and its rivals."""

from __future__ import annotations

from collections.abc import Mapping

from harness.reproduce.conditions import verdict, write_costs, write_differences, write_scores
from harness.reproduce.page import Page
from harness.reproduce.results import Results
from harness.reproduce.setting import Effort, Setting, System
from harness.reproduce.study import Study

WHAT = "Accuracy"
STEPS = "learning_rate=1e-3&batch_size=16"  # HCN stays where it begins with larger steps
EVENLY, BOTH = f"scheduled?{STEPS}", f"two-streams?{STEPS}"
MMTM = System("MMTM", "action-mmtm", BOTH)
LATE = System("late fusion", "action-late", BOTH)
ALONE = (System("HCN, skeleton only", "hcn", EVENLY), System("inflated net, video only", "video-net", EVENLY))
RIVALS = (*ALONE, LATE, System("GMU", "gmu", EVENLY), System("CentralNet", "central-net", BOTH))
PUBLISHED_CODE = System("MMTM, as its code", "action-mmtm?as_published=true&gate_scale=1", BOTH)
DEFENDED = System("MMTM, multi-source training", "action-mmtm", "multi-source-adversarial")
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
            f"{result.scores(MMTM.name).shape[1]} test samples, {result.effort.attacked_by}; attacked: the share that"
            f" withstood every attack tried at strength 1. {result.task.note.capitalize()}.",
        )
        values = result.scores
        write_scores(result, values, WHAT, page, name)
        ours = [each.name for each in (MMTM, PUBLISHED_CODE)]
        write_differences(values, ours, [each.name for each in RIVALS], WHAT, page)
        page.paragraph(verdict(values, MMTM.name, [each.name for each in (LATE, *ALONE)]))
        write_costs(result, values, WHAT, page)
    _published(page)


def _published(page: Page) -> None:
    page.heading("Published numbers")
    page.paragraph(
        "Accuracy in percent on NTU RGB-D across subjects, not comparable with ours: 60 actions, films of real persons,"
        " 25 joints, and networks of fifty layers. The table holds only the numbers that stand in the reference code.",
    )
    page.table(["", "accuracy", "source"], [list(row) for row in PUBLISHED])


SYSTEMS = (MMTM, *RIVALS, PUBLISHED_CODE, DEFENDED)
ACTION = Study(
    "action",
    {
        "gestures": Setting("gestures", SYSTEMS, Effort(samples=200, attack="apgd?steps=40")),
        "msr-action3d": Setting("msr-action3d", SYSTEMS, Effort(epochs=120, attack="apgd?steps=40")),
    },
    write,
)
