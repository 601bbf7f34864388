"""Which answers can be drawn or played: maps of classes, images, sounds and boxes. Only this module
decides it, for all code that stores or shows them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.tasks.task import Task

MOST_CLASSES = 256  # of a map that can be drawn
BOX = 6  # numbers of a box: class, left, top, right, bottom, confidence
COLOURS = (1, 3)  # channels of an image that can be drawn


def answer_form(task: Task) -> dict[str, Any] | None:
    """The data that a page needs to show an answer in the form of a target, as in `run.json`; None
    if the label suffices: a class, a value, a vector.

    The kind is ``map`` for whole numbers (H, W), ``image`` for real ones (C, H, W) with 1 or 3
    channels, ``sound`` for real ones (T,) where the problem has a sample rate or a modality is
    audio of that length, and ``boxes`` for real ones (D, 6) where the problem's targets name places
    in an image.
    """
    answer = task.problem.predictions(torch.zeros(1, *task.problem.shape))[0]
    real, axes = answer.is_floating_point(), answer.ndim
    if not real and axes == 2 and len(classes := _classes(task)) <= MOST_CLASSES:
        ignore = getattr(task.problem, "ignore", None)
        return {"kind": "map", "classes": classes, "ignore": None if ignore is None else int(ignore)}
    if real and axes == 3 and answer.shape[0] in COLOURS:
        span = getattr(task.problem, "span", None)
        return {"kind": "image", **({} if span is None else {"low": float(span[0]), "high": float(span[1])})}
    if real and axes == 2 and answer.shape[1] == BOX and getattr(task.problem, "placed", 0) == 2:
        least, names = getattr(task.problem, "confidence", None), getattr(task.problem, "names", ())
        own = {} if least is None else {"confidence": float(least)}
        return {"kind": "boxes", "classes": [str(name) for name in names][:MOST_CLASSES], **own}
    if real and axes == 1 and (rates := _rates(task, tuple(answer.shape))):
        return {"kind": "sound", "sample_rate": rates[0]}
    return None


def _classes(task: Task) -> list[str]:
    """The names of the classes of a map; their numbers if the problem does not name them."""
    count = task.problem.shape[0] if len(task.problem.shape) == 3 else 0
    names = [str(name) for name in getattr(task.problem, "names", ())]
    return names if len(names) == count else [str(place) for place in range(count)]


def _rates(task: Task, shape: tuple[int, ...]) -> list[int | None]:
    """The sample rates that an answer of this shape may have; empty if it is not a sound."""
    heard = [each.sample_rate for each in task.modalities if each.kind == "audio" and tuple(each.shape) == shape]
    own = getattr(task.problem, "sample_rate", None)
    return heard if own is None else [int(own)]


def as_answers(targets: Tensor, answers: Tensor) -> Tensor | None:
    """Targets (B, ...) in the form of answers. If a target holds several things, the first: the
    clean sound of a clean and a noisy one. Boxes get confidence 1. None if no part has that form.
    """
    if targets.shape == answers.shape:
        return targets
    if targets.ndim == answers.ndim == 3 and (targets.shape[2], answers.shape[2]) == (BOX - 1, BOX):
        return torch.nn.functional.pad(targets, (0, 1), value=1.0)
    return targets[:, 0] if targets.ndim > 1 and targets[:, 0].shape == answers.shape else None
