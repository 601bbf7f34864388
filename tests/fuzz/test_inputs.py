"""Inputs: whatever tensors a task is made of, it is one that can be swept and searched, or is
refused in one sentence.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from attacks.errors import BadInput
from attacks.scenario import parse
from harness.corruptions.corruption import Corruption
from harness.engine.cell import run_cell
from harness.engine.loading import Loaded
from harness.engine.plan import cells, prepare
from harness.engine.probe import probe
from harness.references.registry import names
from harness.run.config import Evaluation
from harness.run.schema import SCHEMAS
from harness.run.validation import row_faults
from harness.schedules import parse as parse_schedule
from harness.tasks import Task
from tests.fuzz.cases import fuzzed, result_or_refusal

CPU = torch.device("cpu")
SHAPES = {
    "image": [(1, 4, 4), (3, 2, 2), (1, 1, 1), (4, 4), (1, 0, 4)],
    "audio": [(16,), (1,), (0,), (1, 400), (400,)],
    "text": [(3, 4), (1, 1), (0, 4), (5,), (4, 2)],
    "features": [(4,), (1,), (0,), (), (2, 3)],
}
FILLS = ["random", "random", "constant", "zeros", "one-hot", "huge", "tiny", "infinite", "nan", "one infinite"]
RANGES = st.sampled_from(
    [None, None, None, (0, 1), (-math.inf, math.inf), (0, math.inf), (1, 0), (math.nan, 1), (0, 0)]
)
PARTS = st.sampled_from([(kind, shape) for kind, shapes in SHAPES.items() for shape in shapes])
TARGETS = st.sampled_from(
    ["two", "two", "two", "one class", "thousand", "real", "constant real", "huge real", "nan", "negative", "matrix"]
)
COUNTS = st.sampled_from([0, 1, 2, 3, 12, 12, 12])
SPLITS = st.sampled_from(["by hand", "by hand", "shuffled", "none to test"])


def filled(shape: tuple[int, ...], fill: str, seed: int) -> Tensor:
    """A tensor of a kind that a person may have."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    if fill == "one-hot" and len(shape) > 1 and shape[-1]:
        return torch.nn.functional.one_hot((x[..., 0] * shape[-1]).long().clamp_max(shape[-1] - 1), shape[-1]).float()
    if fill == "one infinite" and x.numel():
        x.view(-1)[0] = math.inf
    scales = {"constant": 0.0, "zeros": 0.0, "huge": 1e38, "tiny": 1e-38}
    ends = {"constant": 0.5, "infinite": math.inf, "nan": math.nan}
    return x * scales.get(fill, 1.0) + ends.get(fill, 0.0)


def targets_of(kind: str, count: int) -> Tensor:
    numbers = torch.arange(count)
    real = {
        "real": numbers.float(),
        "constant real": torch.ones(count),
        "huge real": 1e38 * numbers.float(),
        "nan": numbers * math.nan,
    }
    whole = {"one class": 0 * numbers, "thousand": numbers * 999 // max(1, count - 1), "negative": numbers - 1}
    return real.get(kind, whole.get(kind, numbers % 2 if kind != "matrix" else torch.ones(count, 2)))


def task_of(parts: dict[str, Any], targets: str, count: int, splits: str, seed: int) -> Task:
    """A task of drawn parts: for each name its kind and shape, its values, and its range."""
    inputs = {name: filled((count, *shape), fill, seed) for name, ((_, shape), fill, _) in parts.items()}
    names_of = {"by hand": ("train", "val", "test"), "none to test": ("train", "val")}.get(splits)
    by_hand = {} if names_of is None else {"splits": [names_of[row % len(names_of)] for row in range(count)]}
    ranges = {name: each for name, (_, _, each) in parts.items() if each is not None}
    return Task.from_arrays(
        inputs,
        targets_of(targets, count),
        kinds={name: part[0] for name, (part, _, _) in parts.items()},
        ranges=ranges,
        **by_hand,
    )


TASKS = {
    "parts": st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.tuples(PARTS, st.sampled_from(FILLS), RANGES), max_size=3
    ),
    "targets": TARGETS,
    "count": COUNTS,
    "splits": SPLITS,
    "seed": st.integers(0, 99),
}
GOOD = {
    "parts": st.dictionaries(
        st.sampled_from(["a", "b"]),
        st.tuples(PARTS, st.sampled_from(FILLS[:7]), st.sampled_from([None, (0, 1)])),
        min_size=1,
        max_size=2,
    ),
    "targets": st.sampled_from(["two", "thousand", "real"]),
    "count": st.just(12),
    "splits": st.just("by hand"),
    "seed": st.integers(0, 99),
}


class Tiny(torch.nn.Module):
    """Linear in the sum of all inputs, of tanh so that no input is too large for it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.slopes = torch.nn.Parameter(torch.linspace(-1, 1, width))

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        evidence = torch.stack([x.flatten(1).tanh().sum(1) for x in inputs.values()]).sum(0)
        return evidence[:, None] * self.slopes if len(self.slopes) > 1 else evidence[:, None] + self.slopes


@fuzzed("tasks from arrays", **TASKS)
def test_any_tensors_are_a_task_or_refused(**drawn: Any) -> None:
    task = result_or_refusal(task_of, **drawn)
    if task is not None:
        assert all(len(split) for split in task.splits.values()) and len(task.data_hash) == 64
        for scenario in task.scenarios():
            assert parse(str(scenario)) == scenario


@fuzzed("what happens to inputs", **GOOD)
def test_what_happens_to_inputs_keeps_them_valid(**drawn: Any) -> None:
    """Every corruption, and gaps: shapes stay, values stay in range and finite; or it is
    refused.
    """
    task = result_or_refusal(task_of, **drawn)
    if task is None:
        return
    batch = task.splits["test"]
    conditions = [result_or_refusal(parse_schedule, "gap:0.5,1", task.names)]
    for modality in task.modalities:
        own = [name.split("/")[1] for name in names("corruption") if name.split("/")[0] == modality.kind]
        conditions += [result_or_refusal(Corruption.parse, f"{modality.name}@{name}:1,5", task) for name in own]
    for condition in filter(None, conditions):
        for level in condition.levels:
            found = result_or_refusal(condition.applied, task, batch, level, 0, 0)
            for modality in task.modalities if found is not None else ():
                modality.check(found[0][modality.name])


@fuzzed("searches", **GOOD)
def test_a_search_finds_what_can_be_or_is_refused(**drawn: Any) -> None:
    """The whole of a cell: scenarios, schedules, search; its rows are such as readers take."""
    task = result_or_refusal(task_of, **drawn)
    if task is not None:
        result_or_refusal(_searched, task)


def _searched(task: Task) -> None:
    model = Tiny(task.width)
    probe("tiny", model, task, CPU)
    config = Evaluation(
        task="toy", model=("tiny",), search="fast", samples="all", repeats=1, limit=2.0, witnesses="none"
    )
    work = prepare(config, task, [Loaded("tiny", model, "", "")], {})
    for cell in cells(work):
        try:
            parts = run_cell(work, cell, CPU, lambda samples, gradients: None, None)
        except BadInput:
            continue
        for name, rows in parts.rows.items():
            assert not row_faults(name, _table(name, rows))


def _table(name: str, rows: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(rows, SCHEMAS[name])
