"""A fitted scikit-learn estimator or pipeline as a model. It has no gradients."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.tasks import Task

LEAST = 1e-12  # of a probability, before its logarithm


class Estimator(nn.Module):
    """An estimator of one table: the values of all modalities side by side, in the order of the
    task.

    A classifier answers with its decision function or, where it has none, with the logarithms of
    its probabilities; one that has neither, with 1 for its class and 0 for the others. A regression
    answers with its prediction.

    Raises:
        BadInput: it is not fitted for these values, or not for the classes of the task.
    """

    digest: Tensor

    def __init__(self, estimator: Any, task: Task) -> None:
        super().__init__()
        self.estimator, self.names = estimator, task.names
        digest = hashlib.sha256()
        _add(digest, estimator, set())
        self.register_buffer("digest", torch.tensor(list(digest.digest()), dtype=torch.uint8))
        _refuse_other_values(estimator, task)
        _refuse_other_classes(estimator)

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, *shape), without gradients; a missing modality holds its stand-in value."""
        table = torch.cat([inputs[name].detach().flatten(1) for name in self.names], 1)
        found = torch.as_tensor(self._answers(table.cpu().double().numpy()), dtype=torch.float32)
        return found.to(table.device)

    def _answers(self, table: Any) -> Any:
        if hasattr(self.estimator, "decision_function"):
            found = torch.as_tensor(self.estimator.decision_function(table))
            return torch.stack([-found, found], 1) if found.ndim == 1 else found
        if hasattr(self.estimator, "predict_proba"):
            return torch.as_tensor(self.estimator.predict_proba(table)).clamp_min(LEAST).log()
        found = torch.as_tensor(self.estimator.predict(table))
        classes = getattr(self.estimator, "classes_", None)
        return found if classes is None else nn.functional.one_hot(found.long(), len(classes))


def _add(digest: Any, value: Any, seen: set[int]) -> None:
    """Add all that an object holds to a digest, by its type, arrays and parts."""
    digest.update(f"{type(value).__qualname__} ".encode())
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes())
    elif value is None or isinstance(value, str | bytes | int | float | np.generic):
        digest.update(repr(value).encode())
    elif callable(value) and hasattr(value, "__qualname__"):
        digest.update(f"{value.__module__} {value.__qualname__}".encode())
    elif id(value) not in seen:
        seen.add(id(value))
        for part in _parts(value):
            _add(digest, part, seen)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, list | tuple):
        return list(value)
    return value.tolist() if isinstance(value, np.ndarray) else list(value.__reduce_ex__(2))


def _refuse_other_values(estimator: Any, task: Task) -> None:
    taken = getattr(estimator, "n_features_in_", None)
    sizes = {each.name: math.prod(each.shape) for each in task.modalities}
    if taken is not None and taken != sum(sizes.values()):
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise BadInput(
            f"{type(estimator).__name__} was fitted on {taken} values, and a sample of task {task.name!r} has"
            f" {sum(sizes.values())} ({listed}): fit it on all of them, side by side in this order"
        )


def _refuse_other_classes(estimator: Any) -> None:
    """The columns of its answers are its classes in order."""
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, list):
        raise BadInput(f"{type(estimator).__name__} answers several questions at once: fit it on one label per sample")
    if classes is not None and list(classes) != list(range(len(classes))):
        raise BadInput(
            f"{type(estimator).__name__} was fitted on the classes {', '.join(map(str, classes[:10]))}: fit it on the"
            " labels of the task, whole numbers from 0 to the number of classes less one, each at least once"
        )
