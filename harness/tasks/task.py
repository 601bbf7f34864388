"""A task: data, modalities and a problem."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.errors import BadInput, plain, unknown
from attacks.region import Bounds, Inputs, Range
from attacks.scenario import Ball, Scenario, parse
from harness.tasks.array_options import Array, ArrayOptions, chosen
from harness.tasks.arrays import task_parts
from harness.tasks.axes import check_edits, lie_under
from harness.tasks.batch import Batch
from harness.tasks.dataset import DatasetOptions, dataset_parts
from harness.tasks.identity import definition_hash
from harness.tasks.incomplete import check_present
from harness.tasks.items import Items
from harness.tasks.lazy import LazySplit
from harness.tasks.modality import Modality
from harness.tasks.problems.problem import Problem, check_problem, thresholds_of
from harness.tasks.sample_hashes import hash_pairs
from harness.tasks.sides import check_groups, check_sides, repeated
from harness.tasks.splits import Splits

SPLITS = ("train", "val", "test")
Duplicates = Literal["flagged", "allowed"]
Detector = Callable[[NDArray[Any]], NDArray[Any]]
"""An image (C, H, W) in raw units to boxes (n, 5): left, top, right, bottom as shares of the image,
and a score."""


@dataclass(frozen=True, eq=False)
class Task:
    """Data in splits, their modalities in order, and their problem.

    Attributes:
        name: as the command line writes it.
        modalities: in the order of `present` and of every bit string.
        problem: loss, score, verdict and metrics.
        splits: test, and train and val if the task has them.
        note: printed under every table of the task, for example the unit of its radii.
        extra_inputs: names of inputs that are not modalities: never attacked, never missing, passed
            to the model unchanged. An example is object proposals, the output of a detector on the
            untouched image.
        report_groups: groups with metrics of their own; they are kinds of samples, which every
            split may have.
        version: of data that is read as it is needed: with the name and the ids it is the identity
            of that data.
        duplicates: by default, `notes` count the test samples that have the inputs of another
            sample, and a group in two splits is refused; "allowed" accepts both.
        required: modalities without which no model may be called: no schedule and no Shapley value
            takes them away.
        detect: computes the object proposals of an image from its pixels, for models whose
            proposals change under an attack.
    """

    name: str
    modalities: tuple[Modality, ...]
    problem: Problem
    splits: Mapping[str, Batch]
    note: str = ""
    extra_inputs: tuple[str, ...] = ()
    report_groups: tuple[str, ...] = ()
    detect: Detector | None = None
    duplicates: Duplicates = "flagged"
    required: tuple[str, ...] = ()
    version: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^/\\\s]+", self.name) or self.name.startswith("."):
            raise BadInput(
                f"task name {self.name!r} must be usable as a folder's name: no '/', '\\', space or leading dot"
            )
        if "test" not in self.splits or not set(self.splits) <= set(SPLITS):
            given = ", ".join(self.splits) or "none"
            raise BadInput(f"task {self.name!r} needs the split test, and may have train and val; it got {given}")
        object.__setattr__(self, "splits", Splits(self.name, self.splits))
        if clash := sorted(set(self.extra_inputs) & set(self.names)):
            raise BadInput(
                f"input {clash[0]!r} of task {self.name!r} is a modality and also an extra input: name it once"
            )
        for name in self.required:
            self.modality(name)
        if self.duplicates not in get_args(Duplicates):
            raise unknown(
                "word", str(self.duplicates), get_args(Duplicates), where=f" for duplicates of task {self.name!r}"
            )
        if empty := [split for split, batch in self.splits.items() if not len(batch)]:
            raise BadInput(f"split {empty[0]!r} of task {self.name!r} is empty: give it samples")
        check_sides(self.name, self.splits)
        check_problem(self.name, self.problem)
        for split, batch in self.in_memory.items():
            self._check_inputs(split, batch)
            self._check_targets(split, batch)
            check_present(self.name, split, batch, self.names, self.required)
            batch.check_annotations()

    def _check_inputs(self, split: str, batch: Batch) -> None:
        given = next(batch.in_parts()).inputs
        if sorted(given) != sorted((*self.names, *self.extra_inputs)):
            needed = ", ".join((*self.names, *self.extra_inputs))
            raise BadInput(f"split {split!r} of task {self.name!r} has {', '.join(given)}, but needs {needed}")
        for modality in self.modalities:
            modality.check_parts(part.inputs[modality.name] for part in batch.in_parts())

    def _check_targets(self, split: str, batch: Batch) -> None:
        """Refuse targets that do not fit the problem, or whose number is not that of the
        samples.
        """
        if not batch.targets.ndim or len(batch.targets) != len(batch):
            raise BadInput(
                f"the targets of split {split!r} of task {self.name!r} have shape {tuple(batch.targets.shape)} for"
                f" {len(batch)} samples: give one target per sample, (N, ...)"
            )
        try:
            self.problem.check_targets(batch.targets)
        except BadInput:
            raise
        except Exception as error:  # of a user's problem
            raise BadInput(
                f"the problem of task {self.name!r} refuses the targets of split {split!r}:"
                f" {type(error).__name__}: {plain(str(error))}"
            ) from error

    @staticmethod
    def from_arrays(inputs: Mapping[str, Array], targets: Array, **options: Any) -> Task:
        """Make a task from tensors.

        >>> Task.from_arrays({"image": images, "sound": sounds}, labels, kinds={"image": "image"})

        Args:
            inputs: per modality, (N, ...) tensors or NumPy arrays.
            targets: (N,): whole numbers for a classification, real values for a regression.
            options: see `harness.tasks.array_options.ArrayOptions`.

        Raises:
            BadInput: an argument cannot be used; the message says what to do.
        """
        return Task(**task_parts(inputs, targets, chosen(ArrayOptions, options)))._with_groups_apart()

    @staticmethod
    def from_dataset(dataset: Items | Mapping[str, Items], **options: Any) -> Task:
        """A data set in, task out; only the samples that are asked for are read.

        >>> Task.from_dataset(photographs, problem=Classification(10), kinds={"image": "image"})

        Args:
            dataset: anything with a length and items, or one for each split by name.
            options: see `harness.tasks.dataset.DatasetOptions`.

        Raises:
            BadInput: something cannot be used; the message says what to do.
        """
        return Task(**dataset_parts(dataset, chosen(DatasetOptions, options)))._with_groups_apart()

    def _with_groups_apart(self) -> Task:
        """The task, after a check that no group of a user's data is in two splits."""
        if self.duplicates != "allowed":
            check_groups(self.name, self.splits, self.report_groups)
        return self

    @property
    def in_memory(self) -> dict[str, Batch]:
        """The splits whose samples are all in memory."""
        return {name: split for name, split in self.splits.items() if not isinstance(split, LazySplit)}

    @property
    def width(self) -> int:
        """The number of outputs of a model for a sample.

        Raises:
            BadInput: the answer is not one vector.
        """
        if len(self.problem.shape) != 1:
            raise BadInput(
                f"task {self.name!r} needs answers of shape {self.problem.shape} per sample, but this model answers"
                " one vector: choose a model that gives such answers"
            )
        return self.problem.shape[0]

    def lies_under(self, name: str) -> bool:
        """Whether targets name places in a modality, see `harness.tasks.axes.lie_under`."""
        modality, targets = self.modality(name), self.splits["test"].take([0]).targets
        return lie_under(modality.kind, modality.shape, targets.shape, int(getattr(self.problem, "placed", 0)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the modalities, in order."""
        return tuple(modality.name for modality in self.modalities)

    def modality(self, name: str) -> Modality:
        """The modality of that name.

        Raises:
            BadInput: the task has no such modality.
        """
        for modality in self.modalities:
            if modality.name == name:
                return modality
        raise unknown("modality", name, self.names, where=f" in task {self.name!r}")

    def present(self, batch: Batch, missing: Collection[str] = ()) -> Tensor:
        """Which modalities are there, bool (B, M): those that the samples came with, less the
        missing ones.
        """
        whole = torch.ones(len(batch), len(self.names), dtype=torch.bool, device=batch.targets.device)
        there = whole if batch.present is None else batch.present.to(whole)
        return there & torch.tensor([name not in missing for name in self.names], device=whole.device)

    @property
    def optional(self) -> tuple[str, ...]:
        """The modalities that may be missing."""
        return tuple(name for name in self.names if name not in self.required)

    def kept(self, present: Tensor) -> Tensor:
        """A mask (..., M) in which the required modalities stay."""
        return present | torch.tensor([name in self.required for name in self.names], device=present.device)

    def check_missing(self, names: Collection[str], where: str) -> None:
        """Refuse to take away what is required.

        Raises:
            BadInput: naming the modality, and `where` it is named.
        """
        if wrong := [name for name in names if name in self.required]:
            raise BadInput(
                f"{where} takes {wrong[0]} away, which task {self.name!r} requires: name"
                f" {' or '.join(self.optional) or 'no modality'}"
            )

    def bounds(self, batch: Batch) -> Bounds:
        """The valid range of each modality of a batch; padding, and values that are not editable,
        may not move.
        """
        bounds: dict[str, Range] = {}
        for modality in self.modalities:
            x, valid = batch.inputs[modality.name], modality.valid.over(batch.inputs[modality.name])
            for mask in (batch.valid.get(modality.name), batch.editable.get(modality.name)):
                if mask is not None:
                    mask = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)).expand_as(x)
                    low, high = valid.ends
                    valid = Range(torch.where(mask, low, x), torch.where(mask, high, x))
            bounds[modality.name] = valid
        return bounds

    def with_stand_ins(self, inputs: Inputs, present: Tensor) -> Inputs:
        """The inputs with the stand-in value wherever `present` (B, M) says a modality is
        missing.
        """
        filled: Inputs = {name: inputs[name] for name in self.extra_inputs}
        for column, modality in zip(present.unbind(1), self.modalities, strict=True):
            x = inputs[modality.name]
            filled[modality.name] = torch.where(column.reshape(-1, *[1] * (x.ndim - 1)), x, modality.stand_in(x))
        return filled

    def scenarios(self) -> list[Scenario]:
        """The default attacks: each modality alone, and all together."""
        singles = [parse(f"{modality.name}@{modality.ball}") for modality in self.modalities]
        joint = Scenario(tuple(ball for single in singles for ball in single.attacked))
        self.check_scenario(joint)
        return [*singles, *([joint] if len(singles) > 1 else [])]

    def check_scenario(self, scenario: Scenario) -> None:
        """Refuse a scenario that names no modality of the task, or an edit that is not made for the
        modality's kind.

        Raises:
            BadInput: naming the modality.
        """
        for name in (*scenario.attacked_names, *scenario.missing):
            self.modality(name)
        self.check_missing(scenario.missing, f"scenario {scenario}")
        check_edits(scenario, {modality.name: modality.kind for modality in self.modalities})
        for ball in scenario.edits:
            self._check_edit(ball)

    def _check_edit(self, ball: Ball) -> None:
        """Refuse edits under which the score of a graded answer has no meaning yet."""
        if thresholds_of(self.problem) and (ball.edit.draws or ball.edit.shared):
            raise BadInput(
                f"{ball} is judged over random draws, but task {self.name!r} has graded answers, which cannot be"
                f" judged so: attack {ball.modality} in a norm, as {ball.modality}@linf:0.1"
            )
        if ball.norm_name == "shift" and self.lies_under(ball.modality):
            raise BadInput(
                f"{ball} moves the input but not the target of task {self.name!r}, and that target names places in"
                f" the input: attack {ball.modality} in a norm, as {ball.modality}@linf:0.1"
            )

    def metrics(self, tallies: Tensor, groups: Sequence[str]) -> dict[str, float]:
        """The problem's metrics of tallies (N, T), and those of each of `report_groups`, as in
        ``accuracy_simple``; `groups` (N) names the group of each sample.
        """
        metrics = self.problem.metrics(tallies)
        for group in self.report_groups:
            rows = torch.tensor([row for row, each in enumerate(groups) if each == group], dtype=torch.int64)
            if len(rows):
                part = self.problem.metrics(tallies[rows])
                metrics |= {f"{name}_{group}": value for name, value in part.items()}
        return metrics

    @cached_property
    def _hashes(self) -> dict[str, list[tuple[str, str]]]:
        """By split, a hash of each sample's inputs, and one of its target besides."""
        return {split: hash_pairs(self.in_memory[split]) for split in SPLITS if split in self.in_memory}

    @cached_property
    def data_hash(self) -> str:
        """SHA-256 over every sample of every split; of data that is read as it is needed, over its
        name, version and ids.
        """
        lazy = {split: each.samples for split, each in self.splits.items() if split not in self.in_memory}
        digest = hashlib.sha256(json.dumps([self.name, self.version, lazy]).encode() if lazy else b"")
        for split, samples in self._hashes.items():
            digest.update(split.encode())
            for _, sample in samples:
                digest.update(sample.encode())
        return digest.hexdigest()

    @cached_property
    def notes(self) -> str:
        """The note, and the number of test samples that have the inputs of another sample, unless
        `duplicates` allows this.
        """
        inputs = {split: [each for each, _ in hashes] for split, hashes in self._hashes.items()}
        test, others = inputs.pop("test", []), [each for hashes in inputs.values() for each in hashes]
        flagged = "" if self.duplicates == "allowed" else repeated(test, others)
        return "; ".join(filter(None, (self.note, flagged)))

    @cached_property
    def definition_hash(self) -> str:
        """SHA-256 over everything in the task beside its raw data: modalities, problem, sample ids,
        groups, masks.
        """
        required = [f"required {name}" for name in self.required]
        stated: list[Modality | str] = [*self.modalities, *self.extra_inputs, *required]
        return definition_hash(self.name, stated, self.problem, self.splits)
