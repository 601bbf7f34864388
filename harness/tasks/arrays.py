"""From plain tensors to the parts of a task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.errors import BadInput, shown, unknown
from attacks.norms import per_sample
from attacks.region import Inputs
from harness.tasks.array_options import Array, ArrayOptions, texts
from harness.tasks.batch import Batch
from harness.tasks.held import Held, HeldSplit
from harness.tasks.incomplete import opened, presence
from harness.tasks.infer_modality import modality_of
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Classification, Problem, Regression
from harness.tasks.tensors import (
    as_tensor,
    columns_by_name,
    mask_tensor,
    real_tensor,
    real_values,
    target_tensor,
)

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


def task_parts(inputs: Mapping[str, Array], targets: Array, options: ArrayOptions) -> dict[str, Any]:
    """Name, modalities, problem and splits of a task made of tensors.

    The arrays are held as they are: their rows become float32 when they are taken.

    Args:
        inputs: per modality, (N, ...) tensors or NumPy arrays in raw units.
        targets: (N,): whole numbers for a classification, real values for a regression.

    Raises:
        BadInput: names that match no modality, lengths that differ, values out of range, NaN.
    """
    options.check(inputs, targets)
    xs = {key: real_values(f"modality {key!r}", opened(x)) for key, x in inputs.items()}
    answers = target_tensor("the array of targets", targets, isinstance(options.problem, Regression))
    count = _common_length(xs, answers)
    valid, editable = (
        {key: mask_tensor(f"the mask of modality {key!r}", mask) for key, mask in (each or {}).items()}
        for each in (options.valid, options.editable)
    )
    for key, mask in editable.items():
        _over(key, xs[key], mask)
    besides = _extra(options.extra_inputs, count)
    present = presence(xs, columns_by_name(options.present))
    there = _there(xs, valid, present)
    modalities = tuple(_modality(key, x, there.get(key), options) for key, x in xs.items())
    held = Held(
        modalities,
        {**besides, **xs},
        there,
        _ids(options.samples, count),
        answers,
        _named("groups", options.groups, count) or ("all",) * count,
        valid,
        present,
        editable,
        _named("sources", options.sources, count),
    )
    return {
        "name": options.name,
        "modalities": modalities,
        "problem": options.problem or _problem(answers),
        "splits": _split(held, options.splits, options.seed),
        "extra_inputs": tuple(besides),
        "duplicates": options.duplicates,
        "required": tuple(options.required),
    }


def _named(what: str, values: Sequence[Any] | Array | None, count: int) -> tuple[str, ...]:
    """The group or the source of each sample; nothing if absent."""
    if values is None:
        return ()
    found = texts(values)
    if len(found) != count:
        mend = "name a group for each" if what == "groups" else "name the source of each sample"
        raise BadInput(f"there are {count} samples but {len(found)} {what}: {mend}")
    return found


def _there(xs: Inputs, valid: Inputs, present: Tensor | None) -> Inputs:
    """For each modality with padding, or that some samples lack, which values are real."""
    there = {key: _over(key, xs[key], mask) for key, mask in valid.items()}
    if present is not None:
        for at, (key, x) in enumerate(xs.items()):
            mask = per_sample(present[:, at], x)
            there[key] = there[key] & mask if key in there else mask
    return there


def _modality(name: str, x: Tensor, there: Tensor | None, options: ArrayOptions) -> Modality:
    return modality_of(
        name,
        x,
        there,
        (options.kinds or {}).get(name, "features"),
        (options.ranges or {}).get(name),
        (options.absent or {}).get(name),
        (options.balls or {}).get(name),
        options.sample_rate,
    )


def _ids(samples: Sequence[Any] | Array | None, count: int) -> tuple[str, ...]:
    """A different id for each sample."""
    ids = tuple(f"{row:06d}" for row in range(count)) if samples is None else texts(samples)
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


def _given(what: str, values: Array) -> Tensor:
    x = as_tensor(what, values)
    return real_tensor(what, x) if x.is_floating_point() else x


def _common_length(inputs: Mapping[str, Tensor], targets: Tensor) -> int:
    if not inputs:
        raise BadInput("a task needs at least one modality, got none")
    for key, x in inputs.items():
        if len(x) != len(targets):
            raise BadInput(f"modality {key!r} has {len(x)} samples but there are {len(targets)} targets: give as many")
    if not len(targets):
        raise BadInput("a task needs samples, got none")
    return len(targets)


def _over(name: str, x: Tensor, mask: Tensor) -> Tensor:
    """A mask in a shape that broadcasts against `x` (N, ...)."""
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


def _split(held: Held, given: str | Sequence[str] | Array | None, seed: int) -> dict[str, Batch]:
    count = len(held.samples)
    if given is None:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
        train, val = (round(SHARES[split] * count) for split in ("train", "val"))
        rows = {"train": order[:train], "val": order[train : train + val], "test": order[train + val :]}
        return {split: HeldSplit(held, sorted(chosen)) for split, chosen in rows.items()}
    splits = (given,) * count if isinstance(given, str) else texts(given)
    if len(splits) != count:
        raise BadInput(f"there are {count} samples but {len(splits)} split names: name a split for each")
    for split in splits:
        if split not in SHARES:
            raise unknown("split", split, SHARES)
    rows = {split: [row for row, each in enumerate(splits) if each == split] for split in SHARES}
    return {split: HeldSplit(held, chosen) for split, chosen in rows.items() if chosen}
