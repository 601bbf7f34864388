"""A model's fingerprint: what it answers on a few fixed inputs, so that a run goes on only with the model it began with.

Hashes of weights and code do not see all that decides an answer: a file read at run time, a service, a global that was
trained again. The fingerprint does. It holds the answers to 16 fixed test samples, to the same with each modality missing,
and at four random points of the valid range, and how the problem judges them.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from attacks.edits.tokens import is_one_hot
from attacks.objective import preserved
from attacks.randomness import keyed_generator, keyed_seed
from harness.objective import TaskObjective
from harness.tasks import Batch, Modality, Task
from harness.tensorfile import from_bytes, to_bytes
from harness.timelimit import TooSlow, limited

SAMPLES, POINTS = 16, 4
CLEAN, RANGE, MISSING = "clean", "range", "missing "
ALIKE = 1e-3  # of the spread of the answers: what kernels of another machine may change
Answers = dict[str, Tensor]
"""Per condition, the outputs and behind them score, prediction and margin, float64 (B, width + 3); (B, 0) where the model raised."""


Exactness = Literal["bits", "about", "random"]
JUDGED = 3  # columns behind the outputs: score, prediction and margin


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What a model answers.

    Attributes:
        exactness: whether it gave the same bits when it was asked twice, about the same, or neither: then its answers
            say nothing of which model it is.
    """

    answers: Answers
    exactness: Exactness

    @property
    def digest(self) -> str:
        """SHA-256 of every bit of the answers."""
        digest = hashlib.sha256()
        for name, x in sorted(self.answers.items()):
            digest.update(f"{name} {tuple(x.shape)}".encode() + x.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def differing(self, other: Fingerprint, exact: bool) -> tuple[int, int]:
        """How many of the samples are answered otherwise, untouched or with a modality missing, and how many random points.

        Args:
            exact: bit for bit, if the model repeats itself so; else answers may lie `ALIKE` of their spread apart, and
                the verdict of a sample that lies so near to failing may differ.
        """
        kinds = {self.exactness, other.exactness}
        if "random" in kinds:
            return 0, 0
        tolerance = 0.0 if exact and kinds == {"bits"} else ALIKE * spread(self.answers[CLEAN][:, :-JUDGED])
        rows = {name: _apart(x, other.answers.get(name), tolerance) for name, x in self.answers.items()}
        samples = torch.stack([apart for name, apart in rows.items() if name != RANGE]).any(0)
        return int(samples.sum()), int(rows[RANGE].sum())


def spread(outputs: Tensor) -> float:
    """The distance of the largest from the smallest output; a model has -inf for what cannot be."""
    seen = outputs[outputs.isfinite()]
    return float(seen.max() - seen.min()) if len(seen) else 0.0


def _apart(ours: Tensor, theirs: Tensor | None, tolerance: float) -> Tensor:
    """Which rows of answers differ, bool (B,)."""
    if theirs is None or ours.shape != theirs.shape:
        return torch.ones(len(ours), dtype=torch.bool)
    if not ours.shape[1]:
        return torch.zeros(len(ours), dtype=torch.bool)
    if not tolerance:
        return ~same(ours, theirs, 0.0).all(1)
    margins = ours[:, -1], theirs[:, -1]
    return ~same(ours, theirs, tolerance)[:, :-JUDGED].all(1) | another_verdict(*margins, tolerance)


def same(ours: Tensor, theirs: Tensor, tolerance: float) -> Tensor:
    """Which numbers lie no further apart, bool; NaN is the same as NaN."""
    return ((ours - theirs).abs() <= tolerance) | (ours == theirs) | (ours.isnan() & theirs.isnan())


def another_verdict(ours: Tensor, theirs: Tensor, tolerance: float) -> Tensor:
    """Whether one margin (B,) says failure and the other does not, by more than the tolerance, bool (B,)."""
    return ((ours >= 0) != (theirs >= 0)) & (torch.maximum(ours.abs(), theirs.abs()) > tolerance)


def fixed_samples(task: Task, count: int = SAMPLES) -> Batch:
    """The samples that every fingerprint is taken on: of the test split, by a hash of their names."""
    split = task.splits["test"]
    return split.take(sorted(range(len(split)), key=lambda row: keyed_seed("fingerprint", split.samples[row]))[:count])


def fingerprint(module: nn.Module, task: Task, device: torch.device, seconds: float | None) -> Fingerprint:
    """Ask a model, in one thread and from one state of all random numbers; model and states are left as they were.

    Args:
        seconds: that it may take; what a model that hangs answers is not known, and tells it from no other.
    """
    try:
        with preserved(module), torch.no_grad(), _one_thread(), limited(seconds):
            first, second = (dict(_answers(module, task, device)) for _ in range(2))
    except TooSlow:
        return Fingerprint({}, "random")
    tolerance = ALIKE * spread(first[CLEAN][:, :-JUDGED])
    apart = {at: any(bool(_apart(x, second[name], at).any()) for name, x in first.items()) for at in (0.0, tolerance)}
    return Fingerprint(first, "bits" if not apart[0.0] else "random" if apart[tolerance] else "about")


@contextmanager
def _one_thread() -> Iterator[None]:
    threads, states = torch.get_num_threads(), (random.getstate(), np.random.get_state())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(states[0])
        np.random.set_state(states[1])


def _answers(module: nn.Module, task: Task, device: torch.device) -> Iterator[tuple[str, Tensor]]:
    for name, batch, present in conditions(task, fixed_samples(task).to(device)):
        for seed in (torch.manual_seed, random.seed, np.random.seed):
            seed(0)
        yield name, _judged(TaskObjective(module, task, batch.targets, present, {}), batch)


def conditions(task: Task, batch: Batch) -> Iterator[tuple[str, Batch, Tensor]]:
    """What a model is asked: the samples untouched, with each modality missing, and random points of the range."""
    everything = torch.ones(len(batch), len(task.modalities), dtype=torch.bool, device=batch.targets.device)
    yield CLEAN, batch, everything
    for place, name in enumerate(task.names):
        present = everything.clone()
        present[:, place] = False
        yield f"{MISSING}{name}", batch, present
    few = batch.take(range(min(POINTS, len(batch))))
    points = {modality.name: random_points(task, modality, few) for modality in task.modalities}
    yield RANGE, replace(few, inputs={**few.inputs, **points}), everything[: len(few)]


def random_points(task: Task, modality: Modality, batch: Batch) -> Tensor:
    """Values drawn evenly from the valid range of a modality, (B, ...); where it has no end, from that of the samples' values."""
    x, (low, high) = batch.inputs[modality.name], task.bounds(batch)[modality.name].ends
    low, high = low.to(x).expand_as(x), high.to(x).expand_as(x)
    chance = torch.rand(x.shape, generator=keyed_generator("fingerprint", modality.name)).to(x)
    if modality.kind == "text" and x.ndim > 2 and bool(is_one_hot(x).all()):
        return nn.functional.one_hot((chance * (high > low)).argmax(-1), x.shape[-1]).to(x)
    low, high = torch.where(low.isfinite(), low, x.amin()), torch.where(high.isfinite(), high, x.amax())
    return torch.where(low < high, low + chance * (high - low), x)


def _judged(objective: TaskObjective, batch: Batch) -> Tensor:
    """Outputs, score, prediction and margin; a model that raises answers nothing."""
    try:
        outputs = objective.answers(batch.inputs)
        problem, targets = objective.task.problem, batch.targets
        margin = problem.verdict(outputs, targets).losses["margin"]
        judged = [problem.score(outputs, targets), problem.predictions(outputs), margin]
        columns = [outputs.flatten(1), *(each.reshape(len(batch), -1) for each in judged)]
        return torch.cat([column.detach().double().cpu() for column in columns], 1)
    except TooSlow:
        raise
    except (Exception, SystemExit):  # on this condition; what that costs shows when the run asks for it
        return torch.zeros(len(batch), 0, dtype=torch.float64)


def packed(prints: Mapping[str, Fingerprint]) -> bytes:
    """Fingerprints by model as a file's content."""
    tensors = {json.dumps([model, each.exactness, name]): x for model, each in prints.items() for name, x in each.answers.items()}
    return to_bytes(tensors)


def unpacked(content: bytes) -> dict[str, Fingerprint]:
    """What `packed` made.

    Raises:
        ValueError: it is something else.
    """
    found: dict[str, Fingerprint] = {}
    for key, x in from_bytes(content).items():
        model, exactness, name = json.loads(key)
        found.setdefault(model, Fingerprint({}, exactness)).answers[name] = x
    return found
