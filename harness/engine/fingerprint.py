"""A model's fingerprint: its answers on a few fixed inputs. A run goes on only with the model that
it began with.

Hashes of weights and code do not cover all that decides an answer: a file read at run time, a
service, a global that was trained again. The fingerprint does. It holds the answers to 16 fixed
test samples, to the same with each modality missing, and at four random points of the valid range,
and how the problem judges them. For labels that these samples lack, it adds one sample each. For a
model that answers at random it holds the mean and the variance of several draws.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from attacks.edits.tokens import is_one_hot
from attacks.objective import preserved
from attacks.randomness import keyed_generator, keyed_seed
from harness.engine.objective import TaskObjective
from harness.engine.timelimit import TooSlow, limited
from harness.run.fingerprint import (
    ALIKE,
    CLEAN,
    DRAWS,
    JUDGED,
    LABELLED,
    LABELS,
    MISSING,
    POINTS,
    RANGE,
    SAMPLES,
    Answers,
    Fingerprint,
    apart_rows,
    spread,
)
from harness.tasks import Batch, Modality, Task

PLACES = 4096  # of the answer to one sample, such as a map, that are kept


def fixed_samples(task: Task, count: int = SAMPLES) -> Batch:
    """The samples that every fingerprint is taken on: of the test split, by a hash of their
    names.
    """
    return task.splits["test"].take(fixed_rows(task, count))


def fixed_rows(task: Task, count: int = SAMPLES) -> list[int]:
    """Their rows."""
    names = task.splits["test"].samples
    return sorted(range(len(names)), key=lambda row: keyed_seed("fingerprint", names[row]))[:count]


def unseen_labels(task: Task, count: int = LABELS) -> list[int]:
    """A row of the test split for each label that the fixed samples lack, up to this many; no rows
    for real-valued targets. The labels of a map are those of its pixels.
    """
    split, fixed = task.splits["test"], set(fixed_samples(task).samples)
    if "test" not in task.in_memory:  # to know all labels, every sample would have to be read
        return []
    targets = split.targets.detach().cpu()
    if targets.is_floating_point() and bool((targets != targets.round()).any()):
        return []
    labels = (
        [[each] for each in targets.tolist()] if targets.ndim == 1 else [each.unique().tolist() for each in targets]
    )
    seen = {label for sample, own in zip(split.samples, labels, strict=True) if sample in fixed for label in own}
    first = {label: row for row, own in reversed(list(enumerate(labels))) for label in own if label not in seen}
    return list(dict.fromkeys(first[label] for label in sorted(first)))[:count]


def fingerprint(module: nn.Module, task: Task, device: torch.device, seconds: float | None) -> Fingerprint:
    """Evaluate a model, in one thread and from one state of all random numbers. Model and states do
    not change.

    Args:
        seconds: the time limit. The answers of a model that hangs are unknown, so it matches every
            model.
    """
    try:
        with preserved(module), torch.no_grad(), one_thread(), limited(seconds):
            first, second = (dict(_answers(module, task, device)) for _ in range(2))
            tolerance = ALIKE * spread(first[CLEAN][:, :-JUDGED])
            apart = {
                at: any(bool(apart_rows(x, second[name], at).any()) for name, x in first.items())
                for at in (0.0, tolerance)
            }
            if apart[tolerance]:
                return _averaged([first, second, *(dict(_answers(module, task, device)) for _ in range(DRAWS - 2))])
    except TooSlow:
        return Fingerprint({}, "random")
    return Fingerprint(first, "about" if apart[0.0] else "bits")


def _averaged(draws: Sequence[Answers]) -> Fingerprint:
    """The mean of the draws, and their variance; empty for conditions under which some draws
    raised.
    """
    first = draws[0]
    same_shape = [
        name for name, x in first.items() if x.shape[1] and all(each[name].shape == x.shape for each in draws)
    ]
    stacked = {name: torch.stack([each[name] for each in draws]) for name in same_shape}
    nothing = {name: x[:, :0] for name, x in first.items()}
    means = {name: x.mean(0) for name, x in stacked.items()}
    return Fingerprint({**nothing, **means}, "random", {name: x.var(0) for name, x in stacked.items()})


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block, torch computes in one thread. Afterwards the random states of Python and
    NumPy are restored.
    """
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
        yield name, _answered(module, task, batch, present)
    split, rows = task.splits["test"], unseen_labels(task)
    batches = [split.take(rows[start : start + SAMPLES]).to(device) for start in range(0, len(rows), SAMPLES)]
    parts = [_answered(module, task, batch, task.present(batch)) for batch in batches]
    if parts:
        width = min(x.shape[1] for x in parts)  # 0 where the model raised
        yield LABELLED, torch.cat([x[:, :width] for x in parts])


def _answered(module: nn.Module, task: Task, batch: Batch, present: Tensor) -> Tensor:
    """The answers to a batch. Where the model raises, it is asked for each sample alone, and NaN
    stands for those that it raises for: one sample must not hide the others.
    """
    together = _seeded(module, task, batch, present)
    if together.shape[1]:
        return together
    alone = [_seeded(module, task, batch.take([row]), present[row, None]) for row in range(len(batch))]
    width = max(each.shape[1] for each in alone)
    return torch.cat([each if each.shape[1] == width else each.new_full((1, width), torch.nan) for each in alone])


def _seeded(module: nn.Module, task: Task, batch: Batch, present: Tensor) -> Tensor:
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(0)
    return _judged(TaskObjective(module, task, batch.targets, present, {}), batch)


def conditions(task: Task, batch: Batch) -> Iterator[tuple[str, Batch, Tensor]]:
    """The inputs of a fingerprint: the samples untouched, with each modality missing, and random
    points of the range.
    """
    everything = task.present(batch)
    yield CLEAN, batch, everything
    for name in task.optional:
        yield f"{MISSING}{name}", batch, task.present(batch, [name])
    few = batch.take(range(min(POINTS, len(batch))))
    points = {modality.name: random_points(task, modality, few) for modality in task.modalities}
    yield RANGE, replace(few, inputs={**few.inputs, **points}), everything[: len(few)]


def random_points(task: Task, modality: Modality, batch: Batch) -> Tensor:
    """Values drawn evenly from the valid range of a modality, (B, ...); where it has no end, from
    that of the samples' values.
    """
    x, (low, high) = batch.inputs[modality.name], task.bounds(batch)[modality.name].ends
    low, high = low.to(x).expand_as(x), high.to(x).expand_as(x)
    chance = torch.rand(x.shape, generator=keyed_generator("fingerprint", modality.name)).to(x)
    if modality.kind == "text" and x.ndim > 2 and bool(is_one_hot(x).all()):
        return nn.functional.one_hot((chance * (high > low)).argmax(-1), x.shape[-1]).to(x)
    low, high = torch.where(low.isfinite(), low, x.amin()), torch.where(high.isfinite(), high, x.amax())
    return torch.where(low < high, low + chance * (high - low), x)


def _thinned(outputs: Tensor) -> Tensor:
    """Numbers at fixed, randomly chosen places of answers (B, N), where N is more than `PLACES`."""
    if outputs.shape[1] <= PLACES:
        return outputs
    places = torch.randperm(outputs.shape[1], generator=keyed_generator("fingerprint", "places"))[:PLACES]
    return outputs[:, places.sort().values.to(outputs.device)]


def _judged(objective: TaskObjective, batch: Batch) -> Tensor:
    """Outputs, score, the mean of the prediction, and margin; a model that raises answers
    nothing.
    """
    try:
        outputs = objective.answers(batch.inputs)
        problem, targets = objective.task.problem, batch.targets
        margin = problem.verdict(outputs, targets).losses["margin"]
        predictions = problem.predictions(outputs).double().reshape(len(batch), -1).mean(1)
        judged = [problem.score(outputs, targets), predictions, margin]
        columns = [_thinned(outputs.flatten(1)), *(each.reshape(len(batch), -1) for each in judged)]
        return torch.cat([column.detach().double().cpu() for column in columns], 1)
    except TooSlow:
        raise
    except (Exception, SystemExit):  # under this condition; the run meets this error when it needs the result
        return torch.zeros(len(batch), 0, dtype=torch.float64)
