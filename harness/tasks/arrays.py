"""From plain tensors to the parts of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.errors import BadInput, unknown
from harness.tasks.batch import Batch
from harness.tasks.modality import Modality
from harness.tasks.problem import Classification, Problem, Regression

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
EIGHT_BIT = 8 / 255  # the field's customary radius, as a share of the range


def task_parts(
    inputs: Mapping[str, Tensor],
    targets: Tensor,
    *,
    name: str = "arrays",
    kinds: Mapping[str, str] | None = None,
    ranges: Mapping[str, tuple[Any, Any]] | None = None,
    absent: Mapping[str, Any] | None = None,
    balls: Mapping[str, str] | None = None,
    valid: Mapping[str, Tensor] | None = None,
    sample_rate: int = 16_000,
    splits: Sequence[str] | None = None,
    samples: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    problem: Problem | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Name, modalities, problem and splits of a task made of tensors.

    Args:
        inputs: per modality, (N, ...) tensors in raw units.
        targets: (N,): whole numbers for a classification, real values for a regression.
        kinds: image, audio, text or features (the default) per modality.
        ranges: (low, high) per modality; unbounded where absent.
        absent: what stands in for a missing modality; the middle of a finite range that does not
            start at 0, else 0.
        balls: the default attack per modality, as in ``{"image": "linf:8/255"}``; where absent, L∞
            with 8/255 of the range, or a tenth of the standard deviation of an unbounded modality.
        valid: for a modality of variable length, which positions are real, bool (N, T) or the like;
            the rest is padding: set to the absent value and never attacked.
        splits: train, val or test for each sample; 70 / 10 / 20 % by a seeded shuffle if absent.
        samples: ids; row numbers if absent.
        groups: the group of each sample (a speaker, a site).
        problem: what is asked; from the targets if absent: a classification of `max + 1` classes, or
            a regression that tolerates half a standard deviation.

    Raises:
        BadInput: names that match no modality, lengths that differ, values out of range, NaN.
    """
    kinds, ranges, absent, balls, valid = (dict(option or {}) for option in (kinds, ranges, absent, balls, valid))
    for option in (kinds, ranges, absent, balls, valid):
        for key in option:
            if key not in inputs:
                raise unknown("modality", key, inputs)
    count = _common_length(inputs, targets)
    ids = tuple(samples or (f"{row:06d}" for row in range(count)))
    if len(set(ids)) != count:
        raise BadInput(f"{count} samples need {count} different ids, got {len(set(ids))}")
    modalities = tuple(
        _modality(key, x, kinds.get(key, "features"), ranges.get(key), absent.get(key), balls.get(key), sample_rate)
        for key, x in inputs.items()
    )
    tensors = {m.name: _padded(m, inputs[m.name].detach(), valid.get(m.name)) for m in modalities}
    whole = Batch(ids, tensors, targets, tuple(groups or ("all",) * count), {k: v.bool() for k, v in valid.items()})
    problem = problem or _problem(targets)
    if isinstance(problem, Regression):
        whole = Batch(whole.samples, whole.inputs, targets.float(), whole.groups, whole.valid)
    return {"name": name, "modalities": modalities, "problem": problem, "splits": _split(whole, splits, seed)}


def _common_length(inputs: Mapping[str, Tensor], targets: Tensor) -> int:
    if not inputs:
        raise BadInput("a task needs at least one modality, got none")
    for key, x in inputs.items():
        if len(x) != len(targets):
            raise BadInput(f"modality {key!r} has {len(x)} samples but there are {len(targets)} targets: give as many")
    return len(targets)


def _modality(name: str, x: Tensor, kind: str, limits: tuple[Any, Any] | None, absent: Any, ball: str | None, sample_rate: int) -> Modality:
    low, high = (torch.as_tensor(end, dtype=torch.float32) for end in limits or (float("-inf"), float("inf")))
    if absent is None:
        absent = torch.where(low.isfinite() & high.isfinite() & (low != 0), (low + high) / 2, torch.zeros_like(low + high))
        absent = absent.clamp(low, high)
    if ball is None:
        span = (high - low).median()
        radius = span * EIGHT_BIT if bool(span.isfinite()) and float(span) > 0 else x.float().std() / 10
        ball = f"linf:{float(radius) or 1.0:.3g}"
    rate = sample_rate if kind == "audio" else None
    return Modality(name, tuple(x.shape[1:]), kind, low, high, absent, ball, rate)  # type: ignore[arg-type]


def _padded(modality: Modality, x: Tensor, valid: Tensor | None) -> Tensor:
    x = x.float()
    if valid is None:
        return x
    if valid.shape != x.shape[: valid.ndim]:
        raise BadInput(f"the mask of modality {modality.name!r} has shape {tuple(valid.shape)}, its data {tuple(x.shape)}")
    mask = valid.bool().reshape(*valid.shape, *[1] * (x.ndim - valid.ndim))
    return torch.where(mask, x, modality.stand_in(x))


def _problem(targets: Tensor) -> Problem:
    if targets.is_floating_point():
        return Regression(tolerance=float(targets.std()) / 2 or 1.0)
    return Classification(classes=int(targets.max()) + 1)


def _split(whole: Batch, splits: Sequence[str] | None, seed: int) -> dict[str, Batch]:
    if splits is None:
        order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed)).tolist()
        train, val = (round(SHARES[split] * len(order)) for split in ("train", "val"))
        rows = {"train": order[:train], "val": order[train : train + val], "test": order[train + val :]}
        return {split: whole.take(sorted(chosen)) for split, chosen in rows.items()}
    if len(splits) != len(whole):
        raise BadInput(f"there are {len(whole)} samples but {len(splits)} split names: name a split for each")
    for split in splits:
        if split not in SHARES:
            raise unknown("split", split, SHARES)
    return {split: whole.take([row for row, each in enumerate(splits) if each == split]) for split in SHARES}
