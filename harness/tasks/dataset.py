"""From a data set that is read one sample at a time to the parts of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks.errors import BadInput, unknown
from harness.tasks.array_options import Array, texts
from harness.tasks.infer_modality import modality_of
from harness.tasks.items import Items, Read, ReadItem, lacks, one, paired
from harness.tasks.lazy import LazySplit, Source
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Problem
from harness.tasks.tensors import real_tensors

FIRST = 16  # test samples that show shapes and types
BYTES = (0, 255)  # the range of uint8


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """The options of `Task.from_dataset`.

    Attributes:
        problem: what is asked of a model.
        name, version: they are the identity of the data, with the ids; raise the version when the
            data changes.
        read: an item to a dictionary of inputs, None where a modality is absent, and its target. By
            default an item is a dictionary with a target among its keys, a pair of a dictionary and
            a target, or a tuple of the `modalities` and a target.
        modalities: their names, in order; by default those of the first item.
        kinds, ranges, absent, balls, sample_rate: see `harness.tasks.array_options.ArrayOptions`.
            Default attacks follow from the first 16 test samples. Inputs of type uint8 have the
            range 0 to 255, and become float32 in a batch.
        extra_inputs: names of inputs that are not modalities.
        samples, groups, sources: by split, one for each item, or a sequence for the test samples;
            ids are the positions by default.
        duplicates: "allowed" accepts groups in two splits.
        required: modalities that are never taken away, see `Task.required`.
        readers: processes that read ahead of the search; 0 reads in this process.
    """

    problem: Problem
    name: str = "dataset"
    version: str = ""
    read: Read | None = None
    modalities: Sequence[str] = ()
    kinds: Mapping[str, str] | None = None
    ranges: Mapping[str, tuple[Any, Any]] | None = None
    absent: Mapping[str, Any] | None = None
    balls: Mapping[str, str] | None = None
    extra_inputs: Sequence[str] = ()
    sample_rate: int = 16_000
    samples: Mapping[str, Sequence[Any]] | Sequence[Any] | Array | None = None
    groups: Mapping[str, Sequence[Any]] | Sequence[Any] | Array | None = None
    sources: Mapping[str, Sequence[Any]] | Sequence[Any] | Array | None = None
    duplicates: str = "flagged"
    required: Sequence[str] = ()
    readers: int = 2


def dataset_parts(dataset: Items | Mapping[str, Items], options: DatasetOptions) -> dict[str, Any]:
    """Name, modalities, problem and splits of a task that reads its samples as they are needed.

    Args:
        dataset: anything with a length and items: a torch `Dataset`, one of Hugging Face, a list of
            paths. A mapping names the splits, ``{"train": ..., "val": ..., "test": ...}``;
            otherwise every item is a test sample.

    Raises:
        BadInput: an item that cannot be read, names that match no modality, lengths that differ.
    """
    given = dict(dataset) if isinstance(dataset, Mapping) else {"test": dataset}
    if "test" not in given:
        raise BadInput(f"task {options.name!r} has the splits {', '.join(given) or 'none'}: name one of them 'test'")
    _check_items(given)
    for option in (options.samples, options.groups, options.sources):
        for split in option if isinstance(option, Mapping) else ():
            if split not in given:
                raise unknown("split", split, given)
    read = options.read or ReadItem((*options.modalities, *options.extra_inputs) if options.modalities else ())
    first = _first(given["test"], read)
    names = tuple(options.modalities) or tuple(key for key in first if key not in options.extra_inputs)
    for option in (options.kinds, options.ranges, options.absent, options.balls):
        for key in option or {}:
            if key not in names:
                raise unknown("modality", key, names)
    modalities, extra = (
        tuple(_described(key, first.get(key, []), options) for key in names),
        tuple(options.extra_inputs),
    )
    sources = {
        split: Source(split, items, read, modalities, extra, options.problem, options.readers, tuple(options.required))
        for split, items in given.items()
    }
    return {
        "name": options.name,
        "modalities": modalities,
        "problem": options.problem,
        "splits": {split: _split(source, options) for split, source in sources.items()},
        "extra_inputs": extra,
        "duplicates": options.duplicates,
        "required": tuple(options.required),
        "version": options.version,
    }


def _check_items(given: Mapping[str, Any]) -> None:
    """Refuse data sets without a length, or whose items have no position."""
    for split, items in given.items():
        if not hasattr(items, "__len__") or not hasattr(items, "__getitem__"):
            raise BadInput(
                f"the data set of split {split!r} is of type {type(items).__name__}, which has no length, or no items"
                " by position: give a sequence, or put its items into a list"
            )


def _first(items: Items, read: Read) -> dict[str, list[Tensor]]:
    """The values of the first items, by input, without those that are absent."""
    if not len(items):
        raise BadInput("the split 'test' has no items: give it samples")
    found: dict[str, list[Tensor]] = {}
    for index in range(min(FIRST, len(items))):
        try:
            inputs, _ = paired(read(items[index]))
            for key, value in inputs.items():
                found.setdefault(key, []).extend([] if lacks(value) else [one(f"input {key!r}", value)])
        except BadInput as error:
            raise BadInput(f"item {index} of the split 'test': {error}") from None
        except Exception as error:
            raise BadInput(
                f"item {index} of the split 'test' cannot be read: {type(error).__name__}: {error}"
            ) from error
    return found


def _described(name: str, values: Sequence[Tensor], options: DatasetOptions) -> Modality:
    if not values:
        raise BadInput(f"the first {FIRST} test samples lack modality {name!r}: put one that has it among them")
    shapes = {tuple(x.shape) for x in values}
    if len(shapes) > 1:
        raise BadInput(
            f"modality {name!r} has samples of shapes {' and '.join(map(str, sorted(shapes)[:2]))}: bring all samples"
            " to one shape in read="
        )
    bytes_ = all(x.dtype == torch.uint8 for x in values)
    x = real_tensors(f"modality {name!r}", values)
    return modality_of(
        name,
        x,
        None,
        (options.kinds or {}).get(name, "features"),
        (options.ranges or {}).get(name, BYTES if bytes_ else None),
        (options.absent or {}).get(name),
        (options.balls or {}).get(name),
        options.sample_rate,
    )


def _of_split(given: Any, split: str, other: Sequence[str]) -> Any:
    """What is given for a split; without names of splits it is of the test samples."""
    if given is None:
        return other
    return given.get(split, other) if isinstance(given, Mapping) else given if split == "test" else other


def _split(source: Source, options: DatasetOptions) -> LazySplit:
    count = len(source.items)
    default = [f"{source.split}-{row:08d}" for row in range(count)]
    ids, members, made_from = (
        texts(_of_split(each, source.split, other))
        for each, other in ((options.samples, default), (options.groups, ["all"] * count), (options.sources, []))
    )
    for what, found in (("ids", ids), ("groups", members), ("sources", made_from or ids)):
        if len(found) != count:
            raise BadInput(f"split {source.split!r} has {count} items but {len(found)} {what}: give one for each")
    return LazySplit(source, range(count), ids, members, made_from)
