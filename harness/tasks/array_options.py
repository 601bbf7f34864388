"""The options of `Task.from_arrays`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attacks.errors import BadInput, unknown
from harness.tasks.problems.problem import Problem
from harness.tasks.tensors import check_columns, check_indices, columns_by_name

Options = TypeVar("Options")
Array = Tensor | NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class ArrayOptions:
    """The options of `Task.from_arrays`.

    Attributes:
        name: of the task.
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
        present: which modalities each sample came with, bool (N, M) in the order of the inputs, or
            (N,) by the name of a modality. A sample whose values of a modality are all NaN, all
            masked, or None in a list, came without it, too.
        extra_inputs: inputs that are not modalities, (N, ...) each, passed to models unchanged, see
            `Task.extra_inputs`.
        required: modalities that are never taken away, see `Task.required`.
        sample_rate: of audio, in Hz.
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
        seed: of the shuffle.
    """

    name: str = "arrays"
    kinds: Mapping[str, str] | None = None
    ranges: Mapping[str, tuple[Any, Any]] | None = None
    absent: Mapping[str, Any] | None = None
    balls: Mapping[str, str] | None = None
    valid: Mapping[str, Array] | None = None
    editable: Mapping[str, Array] | None = None
    present: Array | Mapping[str, Array] | None = None
    extra_inputs: Mapping[str, Array] | None = None
    required: Sequence[str] = ()
    sample_rate: int = 16_000
    splits: str | Sequence[str] | Array | None = None
    samples: Sequence[Any] | Array | None = None
    groups: Sequence[Any] | Array | None = None
    sources: Sequence[Any] | Array | None = None
    duplicates: str = "flagged"
    problem: Problem | None = None
    seed: int = 0

    def check(self, inputs: Mapping[str, Array], targets: Array) -> None:
        """Refuse options of modalities that the inputs do not have, and pandas tables in different
        orders.
        """
        masks = {
            f"{what} of {key!r}": x
            for what, each in (("valid", self.valid), ("editable", self.editable))
            for key, x in (each or {}).items()
        }
        named = columns_by_name(self.present)
        given = named if isinstance(named, Mapping) else {}
        aligned = {"samples": self.samples, "groups": self.groups, "sources": self.sources, "present": self.present}
        aligned |= {f"present of {key!r}": x for key, x in given.items()}
        others = {"the targets": targets, "splits": self.splits, **aligned, **masks, **(self.extra_inputs or {})}
        by_name = (self.kinds, self.ranges, self.absent, self.balls, self.valid, self.editable)
        for key, mask in {**(self.valid or {}), **(self.editable or {})}.items():
            check_columns(f"modality {key!r}", inputs.get(key), "its mask", mask)
        _check_inputs(inputs, [*(each or {} for each in by_name), given], others)


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


def texts(values: Sequence[Any] | Array) -> tuple[str, ...]:
    """Names of any kind as texts.

    Raises:
        BadInput: they have no order, or only keys.
    """
    if isinstance(values, Mapping | set | frozenset):
        raise BadInput(
            f"the names of samples, groups, sources or splits are a {type(values).__name__}: give a list, one name for"
            " each sample in their order"
        )
    plain = values.tolist() if isinstance(values, Tensor | np.ndarray) else values
    return tuple(str(each.item() if isinstance(each, Tensor | np.generic) else each) for each in plain)


def chosen(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """The options as an object of their class.

    Raises:
        BadInput: an unknown option, one that is missing, or a text in place of several names.
    """
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise unknown("option", name, known)
    for name, value in given.items():
        if isinstance(value, str) and known[name].default == ():
            raise BadInput(f"{name} is the text {value!r}: give a tuple of names, ({value!r},)")
    needed = [name for name, each in known.items() if each.default is MISSING and name not in given]
    if needed:
        raise BadInput(f"option {needed[0]!r} is missing: give {needed[0]}=...")
    return kind(**given)
