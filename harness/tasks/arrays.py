"""From plain tensors to the parts of a task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.edits.tokens import is_one_hot
from attacks.errors import BadInput, shown, unknown
from attacks.norms import per_sample
from attacks.scenario import Ball
from harness.tasks.batch import Batch
from harness.tasks.incomplete import opened, presence
from harness.tasks.modality import Modality, per_feature
from harness.tasks.problems.problem import Classification, Problem, Regression
from harness.tasks.tensors import as_tensor, check_indices, constant_tensor, mask_tensor, real_tensor

Array = Tensor | NDArray[Any]

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
EIGHT_BIT = 8 / 255  # the field's customary radius, as a share of the range


def task_parts(
    inputs: Mapping[str, Array],
    targets: Array,
    *,
    name: str = "arrays",
    kinds: Mapping[str, str] | None = None,
    ranges: Mapping[str, tuple[Any, Any]] | None = None,
    absent: Mapping[str, Any] | None = None,
    balls: Mapping[str, str] | None = None,
    valid: Mapping[str, Array] | None = None,
    editable: Mapping[str, Array] | None = None,
    present: Array | Mapping[str, Array] | None = None,
    extra_inputs: Mapping[str, Array] | None = None,
    required: Sequence[str] = (),
    sample_rate: int = 16_000,
    splits: str | Sequence[str] | Array | None = None,
    samples: Sequence[Any] | Array | None = None,
    groups: Sequence[Any] | Array | None = None,
    sources: Sequence[Any] | Array | None = None,
    duplicates: str = "flagged",
    problem: Problem | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Name, modalities, problem and splits of a task made of tensors.

    Args:
        inputs: per modality, (N, ...) tensors or NumPy arrays in raw units.
        targets: (N,): whole numbers for a classification, real values for a regression.
        kinds: image, video, audio, text or features (the default) per modality.
        ranges: (low, high) per modality; unbounded where absent.
        absent: the stand-in value of a missing modality; by default the middle of a finite range
            that does not start at 0, else 0.
        balls: the default attack per modality, as in ``{"image": "linf:8/255"}``; where absent, one
            changed token of one-hot text, else L∞ with 8/255 of the range, or a tenth of the
            standard deviation of an unbounded modality.
        valid: for a modality of variable length, which positions are real, bool (N, T) or the like;
            the rest is padding: set to the absent value, whatever it holds, and never attacked.
        editable: for a modality that may be changed only in part, which values an attack may move,
            bool, see `Batch.editable`.
        present: which modalities each sample came with, bool (N, M) in the order of `inputs`, or
            (N,) by the name of a modality. A sample whose values of a modality are all NaN, all
            masked, or None in a list, came without it, too.
        extra_inputs: inputs that are not modalities, (N, ...) each, passed to models unchanged, see
            `Task.extra_inputs`.
        required: modalities that are never taken away, see `Task.required`.
        splits: train, val or test for each sample, or "test" for all where nothing is trained; 70 /
            10 / 20 % by a seeded shuffle if absent.
        samples: ids, read as text; row numbers if absent.
        groups: the group of each sample (a speaker, a site), read as text; no group may be in two
            splits.
        sources: the source of each sample (a photograph, a video), read as text; no source may be
            in two splits.
        duplicates: "allowed" accepts equal samples, and groups in two splits. Otherwise a line
            under every table counts equal samples, and such groups are refused.
        problem: the problem; by default it follows from the targets: a classification of `max + 1`
            classes, or a regression that tolerates half a standard deviation.

    Raises:
        BadInput: names that match no modality, lengths that differ, values out of range, NaN.
    """
    kinds, ranges, absent, balls, valid, editable = (
        dict(option or {}) for option in (kinds, ranges, absent, balls, valid, editable)
    )
    if isinstance(splits, str):
        splits = [splits] * len(targets)
    named = {"the targets": targets, "splits": splits, "samples": samples, "groups": groups, "sources": sources}
    masked = {
        f"{what} of {key!r}": x for what, each in (("valid", valid), ("editable", editable)) for key, x in each.items()
    }
    options = (kinds, ranges, absent, balls, valid, editable, present if isinstance(present, Mapping) else {})
    _check_inputs(inputs, options, {**named, **masked, **(extra_inputs or {})})
    inputs = {key: opened(x) for key, x in inputs.items()}
    xs, targets = {key: real_tensor(f"modality {key!r}", x) for key, x in inputs.items()}, _targets(targets, problem)
    masks, movable = (
        {key: mask_tensor(f"the mask of modality {key!r}", mask) for key, mask in each.items()}
        for each in (valid, editable)
    )
    count = _common_length(xs, targets)
    besides = _extra(extra_inputs, count)
    ids = _ids(samples, count)
    members = ("all",) * count if groups is None else _texts(groups)
    if len(members) != count:
        raise BadInput(f"there are {count} samples but {len(members)} groups: name a group for each")
    made_from = () if sources is None else _texts(sources)
    if sources is not None and len(made_from) != count:
        raise BadInput(f"there are {count} samples but {len(made_from)} sources: name the source of each sample")
    there = presence(xs, present)
    reals = {key: _real(key, x, masks.get(key)) for key, x in xs.items()}
    if there is not None:
        reals = {key: reals[key] & per_sample(there[:, at], xs[key]) for at, key in enumerate(xs)}
    for key, mask in movable.items():
        _real(key, xs[key], mask)
    modalities = tuple(
        modality_of(
            key,
            x,
            reals[key],
            kinds.get(key, "features"),
            ranges.get(key),
            absent.get(key),
            balls.get(key),
            sample_rate,
        )
        for key, x in xs.items()
    )
    tensors = {m.name: torch.where(reals[m.name], xs[m.name], m.stand_in(xs[m.name])) for m in modalities}
    problem = problem or _problem(targets)
    whole = Batch(ids, {**besides, **tensors}, targets, members, masks, there, movable, sources=made_from)
    return {
        "name": name,
        "modalities": modalities,
        "problem": problem,
        "splits": _split(whole, None if splits is None else _texts(splits), seed),
        "extra_inputs": tuple(besides),
        "duplicates": duplicates,
        "required": tuple(required),
    }


def _ids(samples: Sequence[Any] | Array | None, count: int) -> tuple[str, ...]:
    """A different id for each sample."""
    ids = tuple(f"{row:06d}" for row in range(count)) if samples is None else _texts(samples)
    if len(ids) != count:
        raise BadInput(f"there are {count} samples but {len(ids)} ids: give each sample an id")
    if doubled := [each for each, times in Counter(ids).items() if times > 1]:
        raise BadInput(
            f"{count} samples need {count} different ids, got {len(set(ids))}: {shown(doubled[0])} appears more than"
            " once"
        )
    return ids


def _extra(inputs: Mapping[str, Array] | None, count: int) -> dict[str, Tensor]:
    """Inputs that are not modalities."""
    besides = {key: _given(f"input {key!r}", x) for key, x in (inputs or {}).items()}
    for key, x in besides.items():
        if len(x) != count:
            raise BadInput(f"input {key!r} has {len(x)} samples but there are {count} targets: give as many")
    return besides


def _check_inputs(inputs: Mapping[str, Array], options: Sequence[Mapping[str, Any]], others: Mapping[str, Any]) -> None:
    """Refuse inputs that are not a dictionary of arrays, options of unknown modalities, and indices
    that differ.
    """
    if not isinstance(inputs, Mapping) or not all(isinstance(key, str) for key in inputs):
        raise BadInput(
            f"inputs must be a dictionary of names and arrays, {{'image': images, ...}}, got {type(inputs).__name__}"
        )
    check_indices({**{f"modality {key!r}": x for key, x in inputs.items()}, **others})
    for option in options:
        for key in option:
            if key not in inputs:
                raise unknown("modality", key, inputs)


def _targets(values: Array, problem: Problem | None) -> Tensor:
    """Real values in float32, as those of a regression are; others as whole numbers."""
    targets = as_tensor("the array of targets", values)
    if targets.is_floating_point() or targets.is_complex() or isinstance(problem, Regression):
        return real_tensor("the array of targets", targets)
    if targets.dtype == torch.uint64 and int(targets.numpy().max(initial=0)) > torch.iinfo(torch.int64).max:
        raise BadInput(
            f"the array of targets reaches {targets.numpy().max()}, beyond 64 bits with a sign: number the classes"
            " from 0"
        )
    return targets.long()


def _given(what: str, values: Array) -> Tensor:
    x = as_tensor(what, values)
    return real_tensor(what, x) if x.is_floating_point() else x


def _texts(values: Sequence[Any] | Array) -> tuple[str, ...]:
    plain = values.tolist() if isinstance(values, Tensor | np.ndarray) else values
    return tuple(str(each.item() if isinstance(each, Tensor | np.generic) else each) for each in plain)


def _common_length(inputs: Mapping[str, Tensor], targets: Tensor) -> int:
    if not inputs:
        raise BadInput("a task needs at least one modality, got none")
    for key, x in inputs.items():
        if len(x) != len(targets):
            raise BadInput(f"modality {key!r} has {len(x)} samples but there are {len(targets)} targets: give as many")
    if not len(targets):
        raise BadInput("a task needs samples, got none")
    return len(targets)


def modality_of(
    name: str,
    x: Tensor,
    real: Tensor,
    kind: str,
    limits: tuple[Any, Any] | None,
    absent: Any,
    ball: str | None,
    sample_rate: int,
) -> Modality:
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
        tokens = kind == "text" and x.ndim > 2 and bool(is_one_hot(x)[real.expand_as(x).any(-1)].all())
        ball = "tokens:1" if tokens else _default_ball(name, float((high - low).median()), x[real.expand_as(x)])
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


def _default_ball(name: str, span: float, values: Tensor) -> str:
    radius = span * EIGHT_BIT if 0 < span < math.inf else float(values.std()) / 10 if len(values) > 1 else 0.0
    rounded = float(f"{radius:.3g}")
    return str(Ball(name, "linf", rounded if 0 < rounded < math.inf else 1.0)).partition("@")[2]


def _real(name: str, x: Tensor, mask: Tensor | None) -> Tensor:
    """Which values are not padding, bool, broadcasting against `x` (N, ...)."""
    if mask is None:
        return torch.ones(1, dtype=torch.bool)
    if mask.shape != x.shape[: mask.ndim]:
        raise BadInput(
            f"the mask of modality {name!r} has shape {tuple(mask.shape)}, but its data have"
            f" {tuple(x.shape)}: give both the same shape"
        )
    return mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))


def _problem(targets: Tensor) -> Problem:
    if targets.ndim != 1:
        raise BadInput(
            f"the targets have shape {tuple(targets.shape)}: name their problem, as problem=..., or give one number"
            " per sample"
        )
    if targets.is_floating_point():
        # in float32 the squares of large targets are infinite
        spread = float(targets.double().std()) if len(targets) > 1 else 0.0
        return Regression(tolerance=spread / 2 if 0 < spread < math.inf else 1.0)
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
    rows = {split: [row for row, each in enumerate(splits) if each == split] for split in SHARES}
    return {split: whole.take(chosen) for split, chosen in rows.items() if chosen}
