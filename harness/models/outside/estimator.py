"""A fitted scikit-learn estimator or pipeline as a model. It has no gradients."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.tasks import Classification, Task

TRIED = 64  # samples whose answers are compared with the predicted classes
LEAST = 1e-12  # of a probability, before its logarithm


class Estimator(nn.Module):
    """An estimator of one table: the values of all modalities side by side, in the order of the
    task.

    A classifier answers with its decision function, or with the logarithms of its probabilities, or
    with 1 for its class and 0 for the others: with the first that it has and that leads to the
    classes that it predicts. Votes of one class against one, and thresholds, do not. A regression
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
        _refuse_other_classes(estimator, task)
        self.way = self._first_way(task)

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, *shape), without gradients; a missing modality holds its stand-in value."""
        table = torch.cat([inputs[name].detach().flatten(1) for name in self.names], 1)
        found = torch.as_tensor(self._answers(table.cpu().double().numpy()), dtype=torch.float32)
        return found.to(table.device)

    def _answers(self, table: Any) -> Any:
        found = self.way(self.estimator, table)
        return torch.as_tensor(found) if isinstance(found, np.ndarray) else found

    def _first_way(self, task: Task) -> Way:
        """The first way to answer whose largest numbers are the classes that it predicts."""
        if not hasattr(self.estimator, "classes_"):
            return _prediction
        split = task.splits["test"]
        some = split.take(range(min(TRIED, len(split)))).inputs
        table = torch.cat([some[name].detach().flatten(1) for name in self.names], 1).cpu().double().numpy()
        predicted = torch.as_tensor(np.asarray(self.estimator.predict(table))).long()
        for name, way in WAYS.items():
            if hasattr(self.estimator, name):
                found = torch.as_tensor(way(self.estimator, table))
                fits = found.ndim == 2 and found.shape[1] == len(self.estimator.classes_)
                if fits and bool((found.gather(1, predicted[:, None])[:, 0] >= found.amax(1)).all()):
                    return way
        return _chosen


def _decision(estimator: Any, table: Any) -> Any:
    found = torch.as_tensor(estimator.decision_function(table))
    return torch.stack([-found, found], 1) if found.ndim == 1 else found


def _probability(estimator: Any, table: Any) -> Any:
    return torch.as_tensor(estimator.predict_proba(table)).clamp_min(LEAST).log()


def _chosen(estimator: Any, table: Any) -> Any:
    classes = torch.as_tensor(np.asarray(estimator.predict(table))).long()
    return nn.functional.one_hot(classes, len(estimator.classes_))


def _prediction(estimator: Any, table: Any) -> Any:
    return torch.as_tensor(np.asarray(estimator.predict(table)))


Way = Callable[[Any, Any], Any]
WAYS: dict[str, Way] = {"decision_function": _decision, "predict_proba": _probability}


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


def _refuse_other_classes(estimator: Any, task: Task) -> None:
    """The columns of its answers are its classes in order."""
    classes = getattr(estimator, "classes_", None)
    if classes is None and hasattr(estimator, "decision_function") and isinstance(task.problem, Classification):
        raise BadInput(f"{type(estimator).__name__} was fitted without classes: take a classifier for this task")
    if isinstance(classes, list):
        raise BadInput(f"{type(estimator).__name__} answers several questions at once: fit it on one label per sample")
    if classes is not None and list(classes) != list(range(len(classes))):
        raise BadInput(
            f"{type(estimator).__name__} was fitted on the classes {', '.join(map(str, classes[:10]))}: fit it on the"
            " labels of the task, whole numbers from 0 to the number of classes less one, each at least once"
        )
