"""timm (https://huggingface.co/docs/timm): an image network as a model of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from attacks.errors import BadInput
from harness.models.outside.adapted import Adapted, checked_outputs
from harness.models.outside.readers import EIGHT_BITS, Pixels
from harness.tasks import Task


def adapted(network: nn.Module, task: Task) -> Adapted:
    """A network with timm's `pretrained_cfg` (or `default_cfg`: mean, std) as a model of a task of
    one image, not resized.

    Raises:
        BadInput: the network has no such configuration, the task is not of one image, or its
            classes are not the network's.
    """
    modality, *others = task.modalities
    if others or modality.kind != "image":
        raise BadInput(
            f"timm networks read one image, task {task.name!r} has {', '.join(task.names)}: declare kinds={{'image':"
            " 'image'}"
        )
    mean, std = (_numbers(network, name) for name in ("mean", "std"))
    module = Adapted(network, task, {modality.name: Pixels(modality, mean, std, 1 / EIGHT_BITS, keyword="x")})
    checked_outputs(module, network, task, task.splits["test"].take([0]).inputs)
    return module


def _numbers(network: nn.Module, name: str) -> list[float]:
    said: Any = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None) or {}
    found = (said if isinstance(said, Mapping) else vars(said)).get(name)
    if found is None:
        raise BadInput(
            f"{type(network).__name__} has no {name} in pretrained_cfg or default_cfg: pass a network that timm made"
        )
    return [float(each) for each in found]
