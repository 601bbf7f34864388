"""Infer a modality from the values of its samples, where options leave something open."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from attacks.edits.tokens import is_one_hot
from attacks.errors import BadInput, shown
from attacks.scenario import Ball
from harness.tasks.modality import Modality, per_feature
from harness.tasks.tensors import constant_tensor, pieces

EIGHT_BIT = 8 / 255  # the field's customary radius, as a share of the range


def modality_of(
    name: str,
    x: Tensor,
    there: Tensor | None,
    kind: str,
    limits: tuple[Any, Any] | None,
    absent: Any,
    ball: str | None,
    sample_rate: int,
) -> Modality:
    """A modality from its values (N, ...), of any type; `there` marks those that are real.

    Raises:
        BadInput: a range or an absent value that does not fit.
    """
    low, high = _ends(name, (-math.inf, math.inf) if limits is None else limits, tuple(x.shape[1:]))
    if absent is not None:
        absent = constant_tensor(f"the absent value of modality {name!r}", absent)
    elif bool((low <= high).all()):
        absent = torch.where(
            low.isfinite() & high.isfinite() & (low != 0), (low + high) / 2, torch.zeros_like(low + high)
        )
        absent = absent.clamp(low, high)
    else:
        absent = low  # the modality says what is wrong with the range
    if ball is None:
        tokens = (
            kind == "text"
            and x.ndim > 2
            and all(bool(is_one_hot(part)[mask.any(-1)].all()) for part, mask in _marked(x, there))
        )
        ball = "tokens:1" if tokens else _default_ball(name, float((high - low).median()), x, there)
    rate = sample_rate if kind == "audio" else None
    return Modality(name, tuple(x.shape[1:]), kind, low, high, absent, ball, rate)  # type: ignore[arg-type]


def _ends(name: str, limits: tuple[Any, Any], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    try:
        low, high = (constant_tensor("an end", end) for end in limits)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"the range of modality {name!r} must be a pair (low, high) of numbers or arrays, got {shown(limits)}:"
            f" {error}"
        ) from None
    for what, end in (("low", low), ("high", high)):
        per_feature(name, what, end, shape)
    return low, high


def _default_ball(name: str, span: float, x: Tensor, there: Tensor | None) -> str:
    radius = span * EIGHT_BIT if 0 < span < math.inf else _spread(x, there) / 10
    rounded = float(f"{radius:.3g}")
    return str(Ball(name, "linf", rounded if 0 < rounded < math.inf else 1.0)).partition("@")[2]


def _spread(x: Tensor, there: Tensor | None) -> float:
    """The standard deviation of the values that are real; 0 of fewer than two."""
    count, mean, square = 0, 0.0, 0.0  # Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983
    for part, mask in _marked(x, there):
        values = part[mask].double() if there is not None else part.double()
        if n := values.numel():
            own, total = float(values.mean()), count + n
            square += float((values - own).square().sum()) + (own - mean) ** 2 * count * n / total
            count, mean = total, mean + (own - mean) * n / total
    return math.sqrt(square / (count - 1)) if count > 1 else 0.0


def _marked(x: Tensor, there: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """The values in float32 with the mask of those that are real, some samples at a time."""
    for rows in pieces(x):
        part = x[rows].float()
        mask = torch.ones(1, dtype=torch.bool) if there is None else there[rows]
        yield part, mask.expand_as(part)
