"""Data sets that are read one sample at a time: their data may change, lack values or be
unreadable.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
from attacks.errors import BadInput
from harness.tasks import Classification, Task
from tests.commandline import run
from tests.harness.tasks.lazy_items import COUNT, LABELS, Items, Net, late, task_of, values

QUIET: dict[str, Any] = {"search": "none", "trust": False, "schedule": "none", "batch_size": 5}


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    odd = late(task_of(Items()))
    turned = Items(lambda index, item: {**item, "a": -item["a"]} if index == odd else item)
    where = {"out": str(tmp_path / "run"), **QUIET}
    harness.evaluate(task_of(Items()), {"net": Net()}, **where)
    harness.evaluate(task_of(Items()), {"net": Net()}, **where)
    with pytest.raises(BadInput, match=r"made of other data: 1 of its 40 samples differ, .* raise the version"):
        harness.evaluate(task_of(turned), {"net": Net()}, **where)


CODE = """
import os
from tests.harness.tasks.lazy_items import Items, Net, late, task_of
ODD = late(task_of(Items()))
def turned(index, item):
    return {**item, "a": -item["a"]} if os.path.exists("turned") and index == ODD else item
def task(): return task_of(Items(turned))
def build(task): return Net()
"""


def test_shards_of_different_data_do_not_merge(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "my.py").write_text(CODE)
    words = ("evaluate", "--task", "my.py:task", "--model", "my.py:build", "--search", "none", "--schedule", "none")
    for part in ("1", "2"):
        assert run(monkeypatch, *words, "--shard", f"{part}/2", "--no-trust", "--out", f"part-{part}") == 0
    (elsewhere / "turned").touch()
    assert run(monkeypatch, "merge", "whole", "part-1", "part-2", "--code", "my.py") == 2
    assert "was made of other data: 1 of its 20 samples differ" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "absent",
    [None, torch.full((3,), torch.nan), np.full(3, np.nan), np.ma.masked_all(3)],
    ids=["None", "NaN", "NaN of NumPy", "masked"],
)
def test_what_a_sample_lacks(absent: Any) -> None:
    batch = (
        task_of(Items(lambda index, item: {**item, "b": absent} if index == 1 else item)).splits["test"].take([0, 1])
    )
    assert batch.present is not None and batch.present.tolist() == [[True, True], [True, False]]
    assert batch.inputs["b"][1].eq(0).all()


def test_a_sample_that_cannot_be_read_costs_its_own_rows() -> None:
    odd = late(task_of(Items()))

    def truncated(index: int, item: dict[str, Any]) -> dict[str, Any]:
        if index == odd:
            raise OSError("truncated")
        return item

    with pytest.warns(UserWarning, match="some cells of the run are errors"):
        found = harness.evaluate(task_of(Items(truncated)), {"net": Net()}, **{**QUIET, "search": "fast"})
    lost = found.ledger[found.ledger["status"] == "error"]
    assert set(lost["sample"]) == {f"test-{odd:08d}"} and found.ledger["sample"].nunique() == COUNT
    assert any("truncated" in each for each in found.errors.values())


def test_a_lazy_task_can_be_copied() -> None:
    task = task_of(Items(), problem=Classification(2))
    split = task.splits["test"]
    split.plan([[0, 1], [2, 3]])
    assert copy.deepcopy(task).splits["test"].take([3]).samples == ("test-00000003",)
    assert pickle.loads(pickle.dumps(task_of(PLAIN))).splits["test"].take([1]).targets.tolist() == [1]


PLAIN = [({"a": torch.zeros(3), "b": torch.ones(3)}, row % 2) for row in range(COUNT)]


def test_options_in_the_form_of_arrays() -> None:
    task = task_of(PLAIN, groups=["x"] * 20 + ["y"] * 20, samples=torch.arange(COUNT))
    assert task.splits["test"].groups[19:21] == ("x", "y") and task.splits["test"].samples[:2] == ("0", "1")


def test_extra_inputs_of_dictionaries() -> None:
    with_boxes = Items(lambda index, item: {**item, "boxes": torch.zeros(2)})
    task = task_of(with_boxes, modalities=("a", "b"), extra_inputs=("boxes",))
    assert task.names == ("a", "b") and task.splits["test"].take([0]).inputs["boxes"].shape == (1, 2)


NOTHING = torch.full((4, 2), torch.nan)


class Stream(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(PLAIN)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: task_of(Stream()), "is of type Stream, which has no length"),
        (lambda: task_of(PLAIN, splits="test"), "unknown option 'splits'"),
        (lambda: Task.from_dataset(PLAIN), "option 'problem' is missing"),
        (lambda: Task.from_arrays({"a": values("a")}, LABELS, kind="image"), "unknown option 'kind'"),
        (lambda: task_of(PLAIN, required="a"), r"required is the text 'a': give a tuple of names, \('a',\)"),
        (
            lambda: task_of(
                Items(lambda index, item: item if index != 2 else {"a": item["a"], "label": 1}), modalities=("a", "b")
            ),
            "item 2 of the split 'test': an item is a dictionary of a, label, without 'b': give None",
        ),
        (
            lambda: (
                task_of(Items(lambda index, item: {**item, "b": None} if index == 30 else item), required=("b",))
                .splits["test"]
                .take([30])
            ),
            "'test-00000030' .* lacks b, which the task requires",
        ),
        (
            lambda: Task.from_arrays({"a": NOTHING, "b": torch.ones(4, 2)}, LABELS[:4], splits="test", required=("a",)),
            "sample '000000' in split 'test' of task 'arrays' lacks a, which the task requires",
        ),
    ],
)
def test_what_cannot_be_a_task_is_one_sentence(make: Callable[[], object], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        make()


def test_held_arrays_stay_as_they_are(tmp_path: Path) -> None:
    """Also a transposed memory map: its rows are read when they are taken."""
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (COUNT, 4, 4, 3), dtype=np.uint8))
    images = np.load(path, mmap_mode="r")
    task = Task.from_arrays(
        {"image": images.transpose(0, 3, 1, 2)},
        LABELS,
        kinds={"image": "image"},
        ranges={"image": (0, 255)},
        splits="test",
    )
    held = task.splits["test"].held.inputs["image"]  # type: ignore[attr-defined]
    assert held.dtype == torch.uint8 and np.shares_memory(held.numpy(), images)
    assert torch.equal(
        task.splits["test"].take([7]).inputs["image"][0], torch.tensor(images[7]).permute(2, 0, 1).float()
    )
