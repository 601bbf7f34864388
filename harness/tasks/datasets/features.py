"""Tasks on published features: standardised per feature on the training split, with the range they
then have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.errors import BadInput
from harness.tasks.array_options import ArrayOptions
from harness.tasks.arrays import task_parts
from harness.tasks.problems.problem import Problem
from harness.tasks.task import SPLITS, Task
from harness.tasks.tensors import real_tensor

Arrays = Mapping[str, Mapping[str, NDArray[Any]]]  # per split and name, (N, ...)
CONSTANT = 1e-6  # of a feature's size: a feature that varies less is a constant with rounding


@dataclass(frozen=True, eq=False)
class Standardised:
    """Features in units of their standard deviation on the training split.

    Attributes:
        values: float32 (N, ..., D); padding is unchanged.
        low, high: per feature (D,), the least and largest real value of *all* splits, 0 included:
            the values of a test sample are valid, wherever training lay.
    """

    values: Tensor
    low: Tensor
    high: Tensor


def standardised(x: Tensor, train: Tensor, real: Tensor | None = None) -> Standardised:
    """Subtract the mean of the training rows, divide by their standard deviation, feature by
    feature.

    A feature that is constant in training is only centred.

    Args:
        x: features (N, ..., D).
        train: which rows are training, bool (N,).
        real: which positions are no padding, bool (N, ...); all if absent.
    """
    flat = x.reshape(-1, x.shape[-1]).float()
    kept = torch.ones(x.shape[:-1], dtype=torch.bool) if real is None else real
    learnt = flat[(kept & train.reshape(-1, *[1] * (kept.ndim - 1))).flatten()]
    mean = learnt.mean(0, dtype=torch.float64).float()
    deviation = (learnt - mean).square().mean(0).sqrt()
    scale = torch.where(deviation > CONSTANT * learnt.abs().amax(0), deviation, torch.ones_like(deviation))
    values = (flat - mean) / scale
    seen = values[kept.flatten()]
    return Standardised(values.reshape(x.shape), seen.amin(0).clamp_max(0), seen.amax(0).clamp_min(0))


def feature_task(
    name: str,
    arrays: Arrays,
    balls: Mapping[str, str],
    targets: Mapping[str, NDArray[Any]],
    problem: Problem,
    *,
    valid: Mapping[str, Tensor] | None = None,
    samples: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    note: str = "",
) -> Task:
    """A task whose modalities are features, standardised; absent is 0, the mean of training.

    Args:
        arrays: per split, the features (N, ..., D) of each modality.
        balls: per modality, in order, the default attack, its radius in standard deviations.
        targets: per split, (N,).
        valid: per modality with padding, bool over all samples, as for `samples`, `groups` and
            `sources`: splits in the order train, val, test.

    Raises:
        BadInput: features are not finite or differ in shape between splits, or `Task` refuses them.
    """
    splits = [split for split in SPLITS for _ in targets[split]]
    train = torch.tensor([split == "train" for split in splits])
    found = {key: standardised(_joined(key, arrays), train, (valid or {}).get(key)) for key in balls}
    parts = task_parts(
        {key: each.values for key, each in found.items()},
        np.concatenate([targets[split] for split in SPLITS]),
        ArrayOptions(
            name=name,
            ranges={key: (each.low, each.high) for key, each in found.items()},
            absent=dict.fromkeys(balls, 0.0),
            balls=balls,
            valid=valid,
            splits=splits,
            samples=samples,
            groups=groups,
            sources=sources,
            problem=problem,
        ),
    )
    return Task(**parts, note=note)


def _joined(key: str, arrays: Arrays) -> Tensor:
    shapes = {split: arrays[split][key].shape[1:] for split in SPLITS}
    if len(set(shapes.values())) > 1 or not shapes["train"]:
        raise BadInput(
            f"features {key!r} have shape {shapes} per sample: give vectors of one length, or sequences of them, in"
            " every split"
        )
    x = torch.cat([real_tensor(f"features {key!r}", arrays[split][key]) for split in SPLITS])
    if not bool(x.isfinite().all()):
        raise BadInput(
            f"features {key!r} hold {int((~x.isfinite()).sum())} values that are NaN or infinite: replace them, by 0"
            " for example"
        )
    return x
