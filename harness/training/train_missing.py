"""Training on incomplete data: in a fixed part of the samples, modalities are missing for the whole
training.

The text is ``audio:0.9`` (the share of the samples that lack the sound) or any schedule,
``mcar:0.3``. The training and the validation split are treated alike; the test split stays
complete, because `evaluate` has missing rates of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from attacks.errors import BadInput, unknown
from harness.references.registry import names
from harness.schedules import Gap, Schedule, parse
from harness.tasks import Batch, Task

Missing = tuple[Schedule | Gap, ...]
"""The missing parts in training: schedules and gaps of one level each, all at once."""

LEARNT_FROM = ("train", "val")


def conditions(text: str, modalities: Sequence[str]) -> list[Schedule | Gap]:
    """The schedules of one text, one for each rate. A modality's name stands for that modality
    missing.

    Raises:
        BadInput: it does not parse, or names an unknown modality, schedule or rate.
    """
    name, colon, levels = (part.strip() for part in text.rpartition(":"))
    if not colon:
        raise BadInput(f"--train-missing {text!r} has no rate: write {text}:0.9, or several as {text}:0,0.5,0.9")
    if "(" not in name and name not in (*modalities, *names("schedule")):
        raise unknown(
            "modality or schedule",
            name or levels,
            [*modalities, *names("schedule")],
            where=f" in --train-missing {text!r}",
        )
    schedule = parse(f"fixed({name}):{levels}" if name in modalities else text, modalities)
    return [replace(schedule, levels=(level,)) for level in dict.fromkeys(schedule.levels)]


def grid(texts: Sequence[str], modalities: Sequence[str]) -> list[Missing]:
    """Every combination of the rates of several texts; one empty combination if there are no
    texts.
    """
    return list(product(*(conditions(text, modalities) for text in texts)))


def incomplete(task: Task, missing: Missing, seed: int) -> Task:
    """The task with a training and a validation split whose `present` marks missing modalities,
    which hold absent values.
    """
    splits = {
        name: split.followed_by(lambda batch: _incomplete(task, batch, missing, seed)) if name in LEARNT_FROM else split
        for name, split in task.splits.items()
    }
    return replace(task, splits=splits) if missing else task


def _incomplete(task: Task, split: Batch, missing: Missing, seed: int) -> Batch:
    for condition in missing:
        inputs, here = condition.applied(task, split, condition.levels[0], 0, seed)
        present = here if split.present is None else split.present & here
        split = replace(split, inputs=task.with_stand_ins(inputs, present), present=present)
    return split


def tag(missing: Missing) -> str:
    """The suffix of a checkpoint's name, such as ``-audio-0.9``."""
    return "".join(f"-{_plain(str(condition))}-{condition.levels[0]:g}" for condition in missing)


def described(missing: Missing, task: Task) -> dict[str, object]:
    """The entry of a checkpoint card: the schedules, and the fraction of the training samples in
    which each modality is missing.
    """
    present = task.splits["train"].present
    reached = {} if present is None else dict(zip(task.names, (1 - present.double().mean(0)).tolist(), strict=True))
    return {"schedules": [f"{condition}:{condition.levels[0]:g}" for condition in missing], "reached": reached}


def _plain(name: str) -> str:
    """A schedule as part of a file's name."""
    return re.sub(r"[^\w.+-]+", "-", name.removeprefix("fixed")).strip("-")
