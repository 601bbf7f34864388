"""Data sets that are read one sample at a time: the same numbers as in memory, and only what is
asked for is read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.tasks import Classification, Regression, Task
from harness.tasks.problems.problem import Problem
from tests.commandline import run
from tests.harness.tasks.photographs import BALLS, COUNT, OPTIONS, Photographs, Sum, arrays, lazy


def in_memory() -> Task:
    inputs, targets = arrays()
    ids = [f"test-{row:08d}" for row in range(COUNT)]
    return Task.from_arrays(
        inputs, targets, splits="test", name="photos", samples=ids, balls=BALLS, problem=Classification(2), **OPTIONS
    )


@pytest.mark.parametrize("form", ["pair", "dictionary", "tuple", "arrays"])
def test_an_item_has_any_of_the_usual_forms(form: str) -> None:
    batch, whole = lazy(Photographs(form)).splits["test"].take([5, 3]), in_memory().splits["test"].take([5, 3])
    assert torch.equal(batch.targets, whole.targets) and batch.samples == whole.samples
    assert all(torch.equal(batch.inputs[name], x) for name, x in whole.inputs.items())


@pytest.mark.parametrize("readers", [0, 2])
def test_the_ledger_is_that_of_the_same_data_in_memory(readers: int) -> None:
    ledgers, sweeps = [], []
    options: dict[str, Any] = {"search": "fast", "batch_size": 10, "corruptions": ["sensor@noise:3"], "trust": False}
    for task in (in_memory(), lazy(readers=readers)):
        found = harness.evaluate(task, {"sum": Sum()}, **options)
        assert found.status == "complete" and not found.errors
        ledgers.append(found.ledger.drop(columns="run").sort_values(["scenario", "sample"], ignore_index=True))
        order = ["kind", "name", "level", "repeat", "sample"]
        sweeps.append(found.sweep.drop(columns="run").sort_values(order, ignore_index=True))
    assert ledgers[0].equals(ledgers[1]) and sweeps[0].equals(sweeps[1])


def test_only_what_is_asked_for_is_read() -> None:
    data = Photographs(count=2_000)
    task = lazy(data)
    assert len(set(data.read)) <= 16
    harness.evaluate(task, {"sum": Sum()}, samples=10, search="fast", attributions=1)
    assert len(set(data.read)) <= 16 + 16 + 10 + 4, "the first, the fixed and the chosen samples"


def test_whole_numbers_of_eight_bits_stay_so_until_they_are_in_a_batch() -> None:
    item = lazy().splits["test"].source.item(0)  # type: ignore[attr-defined]
    assert item["image"].dtype == torch.uint8
    assert lazy().splits["test"].take([0]).inputs["image"].dtype == torch.float32
    assert lazy(ranges={}).modality("image").high == 255


def test_training_reads_lazily_and_may_vary() -> None:
    class Varied(Photographs):
        def __getitem__(self, index: int) -> Any:
            held, target = super().__getitem__(index)
            return {**held, "sensor": held["sensor"] + torch.rand(())}, target

    task = lazy({"train": Varied(), "val": Photographs(), "test": Photographs()}, readers=1)
    state = torch.get_rng_state()
    assert isinstance(harness.train(task, "concat", epochs=2, train_samples=16), nn.Module)
    assert torch.equal(state, torch.get_rng_state())
    harness.train(task, "concat", epochs=1, train_missing=["mcar:0.5"])


def test_a_test_sample_that_varies_is_refused() -> None:
    class Random(Photographs):
        def __getitem__(self, index: int) -> Any:
            held, target = super().__getitem__(index)
            return {**held, "sensor": held["sensor"] + torch.rand(())}, target

    with pytest.raises(BadInput, match="differs between two readings: leave random changes to the split train"):
        harness.evaluate(lazy(Random()), {"sum": Sum()}, search="none")


def test_an_absent_input_is_none() -> None:
    class Gaps(Photographs):
        def __getitem__(self, index: int) -> Any:
            held, target = super().__getitem__(index)
            return {**held, "image": held["image"] if index % 3 else None}, target

    found = harness.evaluate(lazy(Gaps()), {"sum": Sum()}, scenarios=["image@linf:8"], search="fast", trust=False)
    assert (found.ledger["status"] == "skipped").sum() == 8 and found.status == "complete"


class Broken(Photographs):
    def __getitem__(self, index: int) -> Any:
        if index == 20:
            raise OSError("truncated file")
        held, target = super().__getitem__(index)
        return ({**held, "image": held["image"][:, :3]} if index == 21 else held), 9 if index == 22 else target


@pytest.mark.parametrize("readers", [0, 2])
@pytest.mark.parametrize(
    ("row", "why"),
    [
        (20, "sample 'test-00000020' of split 'test' cannot be read: OSError: truncated file"),
        (21, r"'test-00000021' has modality 'image' of shape \(1, 3, 6\), and the task declares \(1, 6, 6\)"),
        (22, "targets"),
    ],
)
def test_a_fault_names_its_sample(row: int, why: str, readers: int) -> None:
    split = lazy(Broken(), readers=readers).splits["test"]
    with pytest.raises(BadInput, match=why):
        list(split.each([[0, 1], [2, row]]))


@pytest.mark.parametrize(
    ("dataset", "options", "why"),
    [
        ([], {}, "the split 'test' has no items"),
        ({"train": Photographs()}, {}, "has the splits train: name one of them 'test'"),
        ([1, 2], {"modalities": ()}, "an item is a int, which names no inputs: say what an item holds with read="),
        ([{"image": torch.zeros(1, 6, 6)}], {}, "an item is a dictionary of image, without target, label"),
        (Photographs(), {"kinds": {"picture": "image"}}, "unknown modality 'picture'"),
        (Photographs(), {"samples": {"test": ["a"]}}, "split 'test' has 24 items but 1 ids: give one for each"),
    ],
)
def test_what_cannot_be_used_is_refused(dataset: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        lazy(dataset, **options)


def test_paths_are_read_by_a_function(tmp_path: Path) -> None:
    paths = []
    for row in range(4):
        path = tmp_path / f"{row}.npy"
        np.save(path, np.full(3, float(row)))
        paths.append(path)
    task = Task.from_dataset(
        paths, read=lambda path: ({"x": np.load(path)}, float(path.stem)), problem=Regression(0.5), name="files"
    )
    batch = task.splits["test"].take([3, 1])
    assert batch.targets.tolist() == [3.0, 1.0] and batch.inputs["x"][:, 0].tolist() == [3.0, 1.0]


def test_the_identity_is_name_version_and_ids() -> None:
    one = lazy(version="1")
    assert one.data_hash == lazy(version="1").data_hash
    others = [lazy(version="2"), lazy(version="1", samples={"test": [f"{row}" for row in range(COUNT)]})]
    assert all(one.data_hash != other.data_hash for other in others)


def test_what_needs_everything_at_once_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BadInput, match=r"needs all samples of split 'test' at once, .*: make the task with Task.from_arrays"
    ):
        assert lazy().splits["test"].inputs


def gone(row: int, *names: str) -> Photographs:
    class Gone(Photographs):
        def __getitem__(self, index: int) -> Any:
            held, target = super().__getitem__(index)
            return {name: None if index == row and name in names else x for name, x in held.items()}, target

    return Gone()


def test_a_test_sample_without_any_modality_is_refused_when_it_is_read() -> None:
    with pytest.raises(BadInput, match="sample 'test-00000003' in split 'test' has no modality at all"):
        lazy(gone(3, "image", "sensor")).splits["test"].take([2, 3])


def test_a_recipe_that_takes_every_input_as_present_refuses_what_it_reads() -> None:
    task = lazy({"train": gone(5, "image"), "val": Photographs(), "test": Photographs()})
    with pytest.raises(BadInput, match=r"lacks a modality: recipe .* treats every input as present"):
        harness.train(task, "concat", recipe="multi-source-adversarial", epochs=1)
    assert isinstance(harness.train(task, "concat", epochs=1), nn.Module)


CODE = """
from tests.harness.tasks.photographs import Sum, lazy
def task(): return lazy(readers=2)
def build(task): return Sum()
"""


def test_a_run_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluated, resumed, verified and reported."""
    (tmp_path / "my.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    where = ("--task", "my.py:task", "--model", "my.py:build", "--search", "fast", "--witnesses", "all", "--out", "run")
    for command in (
        ("evaluate", *where),
        ("evaluate", *where),
        ("verify", "run", "--code", "my.py"),
        ("report", "run"),
    ):
        assert run(monkeypatch, *command) == 0, command


@pytest.mark.parametrize("lacking", [False, True])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda row: torch.complex(torch.ones(3), torch.full((3,), float(row))), "is complex"),
        (lambda row: torch.arange(3, dtype=torch.float64) / 4 + 1.7e9 + row, "which float32 rounds"),
        (lambda row: torch.arange(3) + 2**31 + row, "which float32 rounds"),
    ],
)
def test_no_input_is_cast_without_a_word(make: Callable[[int], Tensor], why: str, lacking: bool) -> None:
    """Also in a batch in which some samples lack it."""
    items = [({"a": None if lacking and row % 4 == 3 else make(row), "b": torch.ones(2)}, row % 2) for row in range(20)]
    with pytest.raises(BadInput, match=why):
        Task.from_dataset(items, problem=Classification(2), readers=0).splits["test"].take(range(8))


@pytest.mark.parametrize(
    ("targets", "problem", "why"),
    [
        (torch.complex(torch.ones(20), torch.arange(20.0)), Classification(3), "is complex"),
        (torch.arange(20, dtype=torch.float64) / 4 + 1.7e9, Regression(0.5), "which float32 rounds"),
        (torch.arange(20) + 2**31, Regression(0.5), "which float32 rounds"),
    ],
)
def test_no_target_is_cast_without_a_word(targets: Tensor, problem: Problem, why: str) -> None:
    items = [({"a": torch.ones(2)}, each) for each in targets]
    with pytest.raises(BadInput, match=why):
        Task.from_dataset(items, problem=problem, readers=0).splits["test"].take(range(8))


def test_an_item_with_two_targets_is_refused() -> None:
    items = [{"a": torch.ones(2), "label": 1, "labels": torch.ones(2)}] * 20
    with pytest.raises(BadInput, match="has 'label' and 'labels', and both may be its target"):
        Task.from_dataset(items, problem=Classification(2), readers=0)
