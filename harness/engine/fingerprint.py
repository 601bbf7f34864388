"""A model's fingerprint: what it answers on a few fixed inputs, so that a run goes on only with the model it began with.

Hashes of weights and code do not see all that decides an answer: a file read at run time, a service, a global that was
trained again. The fingerprint does. It holds the answers to 16 fixed test samples, to the same with each modality missing,
and at four random points of the valid range, and how the problem judges them. Labels that these samples lack are asked
for besides, one sample each. Of a model that answers at random it holds the mean of several draws, and how they vary.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from attacks.edits.tokens import is_one_hot
from attacks.objective import preserved
from attacks.randomness import keyed_generator, keyed_seed
from harness.engine.objective import TaskObjective
from harness.engine.timelimit import TooSlow, limited
from harness.storage.tensorfile import checksum, from_bytes, to_bytes
from harness.tasks import Batch, Modality, Task

SAMPLES, POINTS, LABELS, DRAWS = 16, 4, 128, 32
CLEAN, RANGE, MISSING, LABELLED = "clean", "range", "missing ", "labels"
BEYOND = 6.0  # standard errors between the means of two random models' draws; fewer may be chance
ALIKE = 1e-3  # of the spread of the answers: what kernels of another machine may change
VARIANCE = "variance"
Answers = dict[str, Tensor]
"""Per condition, the outputs and behind them score, prediction and margin, float64 (B, width + 3); (B, 0) where the model raised."""


Exactness = Literal["bits", "about", "random"]
JUDGED = 3  # columns behind the outputs: score, prediction and margin


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What a model answers.

    Attributes:
        exactness: whether it gave the same bits when it was asked twice, about the same, or neither: then its answers are
            the means of `DRAWS` draws.
        variances: of these draws, shaped as the answers.
    """

    answers: Answers
    exactness: Exactness
    variances: Answers = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many samples it was taken on."""
        return sum(len(self.answers[name]) for name in (CLEAN, LABELLED) if name in self.answers)

    @property
    def labels_digest(self) -> str:
        """SHA-256 of the answers to labels that the fixed samples lack; empty where there are none."""
        return checksum({LABELLED: self.answers[LABELLED]}) if LABELLED in self.answers else ""

    @property
    def digest(self) -> str:
        """SHA-256 of every bit of the answers to the fixed samples and points."""
        digest = hashlib.sha256()
        for name, x in sorted(self.answers.items()):
            if name == LABELLED:
                continue
            digest.update(f"{name} {tuple(x.shape)}".encode() + x.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def differing(self, other: Fingerprint, exact: bool) -> tuple[int, int]:
        """How many of the samples are answered otherwise, untouched or with a modality missing, and how many random points.

        Args:
            exact: bit for bit, if the model repeats itself so; else answers may lie `ALIKE` of their spread apart, and
                the verdict of a sample that lies so near to failing may differ.
        """
        if not self.answers or not other.answers:  # one has hung: nothing tells
            return 0, 0
        known = [name for name in self.answers if name != LABELLED or name in other.answers]  # earlier versions did not ask
        rows = {name: self._apart(other, name, exact) for name in known}
        samples = torch.stack([apart for name, apart in rows.items() if name not in (RANGE, LABELLED)]).any(0)
        return int(samples.sum()) + int(rows.get(LABELLED, samples[:0]).sum()), int(rows[RANGE].sum())

    def _apart(self, other: Fingerprint, name: str, exact: bool) -> Tensor:
        """Which rows of a condition differ, bool (B,)."""
        ours, theirs = self.answers[name], other.answers.get(name)
        kinds = {self.exactness, other.exactness}
        tolerance = 0.0 if exact and kinds == {"bits"} else ALIKE * spread(self.answers[CLEAN][:, :-JUDGED])
        if "random" in kinds:
            return _beyond_chance(ours, theirs, [each.variances.get(name) for each in (self, other)], tolerance)
        return _apart(ours, theirs, tolerance)


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


def _beyond_chance(ours: Tensor, theirs: Tensor | None, variances: Sequence[Tensor | None], tolerance: float) -> Tensor:
    """Which rows of the means of draws differ by more than their variances explain; none where no variance is known."""
    if theirs is None or ours.shape != theirs.shape:
        return torch.ones(len(ours), dtype=torch.bool)
    known = [x for x in variances if x is not None and x.shape == ours.shape]
    if not known:
        return torch.zeros(len(ours), dtype=torch.bool)
    own = torch.stack(known).sum(0)
    error = (torch.maximum(own, own.nanmean(0, keepdim=True)) / DRAWS).sqrt()  # a row that never varied may yet
    return ((ours - theirs).abs() > tolerance + BEYOND * error).any(1)


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


def unseen_labels(task: Task, count: int = LABELS) -> list[int]:
    """A row of the test split for each label that the fixed samples lack, of at most so many; of real values none."""
    split, asked = task.splits["test"], set(fixed_samples(task).samples)
    targets = split.targets.detach().cpu()
    if targets.is_floating_point() and bool((targets != targets.round()).any()):
        return []
    labels = targets.tolist()
    seen = {label for sample, label in zip(split.samples, labels, strict=True) if sample in asked}
    first = {label: row for row, label in reversed(list(enumerate(labels))) if label not in seen}
    return [first[label] for label in sorted(first)][:count]


def fingerprint(module: nn.Module, task: Task, device: torch.device, seconds: float | None) -> Fingerprint:
    """Ask a model, in one thread and from one state of all random numbers; model and states are left as they were.

    Args:
        seconds: that it may take; what a model that hangs answers is not known, and tells it from no other.
    """
    try:
        with preserved(module), torch.no_grad(), one_thread(), limited(seconds):
            first, second = (dict(_answers(module, task, device)) for _ in range(2))
            tolerance = ALIKE * spread(first[CLEAN][:, :-JUDGED])
            apart = {at: any(bool(_apart(x, second[name], at).any()) for name, x in first.items()) for at in (0.0, tolerance)}
            if apart[tolerance]:
                return _averaged([first, second, *(dict(_answers(module, task, device)) for _ in range(DRAWS - 2))])
    except TooSlow:
        return Fingerprint({}, "random")
    return Fingerprint(first, "about" if apart[0.0] else "bits")


def _averaged(draws: Sequence[Answers]) -> Fingerprint:
    """The mean of the draws, and their variance; of conditions under which some raised, nothing."""
    first = draws[0]
    same_shape = [name for name, x in first.items() if all(each[name].shape == x.shape for each in draws)]
    stacked = {name: torch.stack([each[name] for each in draws]) for name in same_shape}
    nothing = {name: x[:, :0] for name, x in first.items()}
    means = {name: x.mean(0) for name, x in stacked.items()}
    return Fingerprint({**nothing, **means}, "random", {name: x.var(0) for name, x in stacked.items()})


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes in one thread; random numbers of Python and NumPy are afterwards as they were."""
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
        yield name, _asked(module, task, batch, present)
    split, rows = task.splits["test"], unseen_labels(task)
    batches = [split.take(rows[start : start + SAMPLES]).to(device) for start in range(0, len(rows), SAMPLES)]
    everything = torch.ones(SAMPLES, len(task.modalities), dtype=torch.bool, device=device)
    parts = [_asked(module, task, batch, everything[: len(batch)]) for batch in batches]
    if parts:
        width = min(x.shape[1] for x in parts)  # 0 where the model raised
        yield LABELLED, torch.cat([x[:, :width] for x in parts])


def _asked(module: nn.Module, task: Task, batch: Batch, present: Tensor) -> Tensor:
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(0)
    return _judged(TaskObjective(module, task, batch.targets, present, {}), batch)


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
    tensors: Answers = {}
    for model, each in prints.items():
        tensors |= {json.dumps([model, each.exactness, name]): x for name, x in each.answers.items()}
        tensors |= {json.dumps([model, each.exactness, name, VARIANCE]): x for name, x in each.variances.items()}
    return to_bytes(tensors)


def unpacked(content: bytes) -> dict[str, Fingerprint]:
    """What `packed` made.

    Raises:
        ValueError: it is something else.
    """
    found: dict[str, Fingerprint] = {}
    for key, x in from_bytes(content).items():
        model, exactness, name, *rest = json.loads(key)
        mine = found.setdefault(model, Fingerprint({}, exactness))
        (mine.variances if rest == [VARIANCE] else mine.answers)[name] = x
    return found
