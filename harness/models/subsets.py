"""Models of some of the modalities: one alone, or all but one."""

from __future__ import annotations

from attacks.errors import BadInput
from harness.models.fused import Fused
from harness.models.fusion.concat import over
from harness.tasks import Task


def only(task: Task, modality: str) -> Fused:
    """A single-modality model: reads this modality and no other."""
    return over(task, [task.modality(modality).name])


def without(task: Task, modality: str) -> Fused:
    """A leave-one-out model, concat fusion of all modalities but this one.

    The oracle of robust fusion (Yang et al., CVPR 2021): trained and tested without the attacked
    modality.
    """
    left_out = task.modality(modality).name
    if len(task.names) == 1:
        raise BadInput(f"task {task.name!r} has only {left_out!r}: nothing is left without it")
    return over(task, [name for name in task.names if name != left_out])
