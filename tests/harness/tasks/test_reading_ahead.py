"""What happens to readers changes no sample, such as a wait that is interrupted, or a reader that
is killed.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

import harness
from attacks.errors import BadInput
from harness.engine.timelimit import TooSlow, limited
from harness.tasks import Classification, Segmentation, Task
from harness.tasks.lazy import Unreadable

COUNT, PART = 48, 8
QUIET: dict[str, Any] = {"search": "none", "trust": False, "schedule": "none"}

# torch's handler of a reader's death raises wherever the process is, also when readers end
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Sure:
    """Each item follows from its number; one item troubles a reader once."""

    def __init__(self, mark: Path, trouble: str, at: int) -> None:
        self.mark, self.trouble, self.at = mark, trouble, at

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], int]:
        if index == self.at and get_worker_info() is not None and not self.mark.exists():
            self.mark.write_text("")
            if self.trouble == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(6)
        return {"x": torch.full((4,), float(index))}, index % 3


@pytest.mark.parametrize("readers", [1, 2])
@pytest.mark.parametrize("at", [PART, 2 * PART + 3])
@pytest.mark.parametrize("trouble", ["killed", "slow"])
def test_later_batches_hold_their_own_samples(tmp_path: Path, trouble: str, at: int, readers: int) -> None:
    task = Task.from_dataset(Sure(tmp_path / "mark", trouble, at), problem=Classification(3), readers=readers)
    split = task.splits["test"]
    parts = torch.arange(COUNT).split(PART)
    split.plan([part.tolist() for part in parts])  # type: ignore[attr-defined]
    late = 0
    for part in parts:
        try:
            with limited(2.0 if trouble == "slow" else None):
                batch = split.take(part)
        except (TooSlow, RuntimeError):  # torch's handler of the signal raises wherever the process is
            late += 1
            continue
        assert batch.inputs["x"][:, 0].tolist() == part.tolist()
        assert batch.targets.tolist() == [row % 3 for row in part.tolist()]
    assert (tmp_path / "mark").exists() and late < len(parts) / 2


class Restless:
    """A test item whose target or input is another one each time."""

    def __init__(self, what: str) -> None:
        self.what, self.calls = what, 0

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], int]:
        self.calls += 1
        random = float(self.calls) if self.what == "input" else 0.0
        return {"x": torch.full((4,), index + random)}, (self.calls if self.what == "target" else index) % 3


@pytest.mark.parametrize("what", ["input", "target"])
def test_a_test_sample_that_changes_is_refused(what: str) -> None:
    split = Task.from_dataset(Restless(what), problem=Classification(3), readers=0).splits["test"]
    split.take([0, 1])
    with pytest.raises(BadInput, match=r"'test-0000000\d' differs between two readings"):
        split.take([1, 0])


class Drawn:
    """A training item with a random number."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], int]:
        return {"x": torch.rand(4)}, index % 3


def drawn(seed: int) -> list[Tensor]:
    """The random inputs of two epochs."""
    torch.manual_seed(seed)
    data = {"train": Drawn(), "test": Sure(Path(), "", -1)}
    split = Task.from_dataset(data, problem=Classification(3), readers=2).splits["train"]
    parts = [part.tolist() for part in torch.arange(COUNT).split(PART)]
    return [torch.cat([batch.inputs["x"] for batch in split.each(parts)]) for _ in range(2)]  # type: ignore[attr-defined]


def test_augmentation_draws_anew_in_each_epoch_and_by_the_seed() -> None:
    (first, second), again, other = drawn(0), drawn(0), drawn(1)
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])
    sets = [set(each.flatten().tolist()) for each in (first, second, *other)]
    assert all(not a & b for place, a in enumerate(sets) for b in sets[:place])


class Maps:
    """One late item does not fit the task."""

    def __init__(self, fault: str, at: int = 40) -> None:
        self.fault, self.at = fault, at

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], Tensor]:
        generator = torch.Generator().manual_seed(index)
        image, target = torch.rand(3, 4, 4, generator=generator), torch.randint(3, (4, 4), generator=generator)
        if index == self.at:
            if self.fault == "ignored":
                target[:] = 255
            elif self.fault == "class":
                target[0, 0] = 7
            elif self.fault == "nan":
                image[0, 0, 0] = float("nan")
            else:
                image = image[:, :3]
        return {"image": image}, target


class Echo(torch.nn.Module):
    def forward(self, inputs: dict[str, Tensor], present: object = None) -> Tensor:
        return inputs["image"]


@pytest.mark.parametrize(
    ("fault", "why"), [("ignored", "no pixel"), ("class", "class 7"), ("nan", "NaN"), ("shape", "of shape")]
)
def test_a_sample_that_does_not_fit_costs_its_own_rows_and_is_named(fault: str, why: str) -> None:
    task = Task.from_dataset(Maps(fault), problem=Segmentation(3, (4, 4)), readers=0)
    with pytest.raises(Unreadable, match=rf"sample 'test-00000040' of split 'test' does not fit the task: .*{why}"):
        task.splits["test"].take(list(range(32, 48)))
    with pytest.warns(UserWarning, match="some cells of the run are errors"):
        run = harness.evaluate(task, {"echo": Echo()}, samples="all", scenarios=["image@linf:0.1"], **QUIET)
    assert sorted(set(run.ledger["sample"][run.ledger["status"] == "error"])) == ["test-00000040"]
    assert set(run.ledger["sample"][run.ledger["status"] == "ok"]) == {f"test-{row:08d}" for row in range(COUNT)} - {
        "test-00000040"
    }


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"x": torch.zeros(4)}, "read= returned a dict: return a pair"),
        ("text", "read= returned a str"),
        (({"x": torch.zeros(4)}, 1, 2), "read= returned a tuple"),
    ],
    ids=str,
)
def test_what_read_returns_is_a_pair(given: object, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        Task.from_dataset([0, 1], problem=Classification(3), read=lambda item: given)


def test_ragged_targets_are_named() -> None:
    items = [({"x": torch.zeros(4)}, torch.zeros(1 + row % 2, 4)) for row in range(4)]
    split = Task.from_dataset(items, problem=Segmentation(3, (2, 4)), readers=0).splits["test"]
    with pytest.raises(BadInput, match=r"bring all samples to one shape, as by padding|does not fit the task"):
        split.take([0, 1])


def test_a_reader_killed_in_a_run_changes_no_row(tmp_path: Path) -> None:
    def rows(trouble: int) -> list[dict[str, Any]]:
        items = Sure(tmp_path / f"mark {trouble}", "killed", trouble)
        task = Task.from_dataset(items, problem=Classification(3), readers=2, name="killed")
        run = harness.evaluate(
            task,
            {"flat": Plane()},
            samples="all",
            batch_size=8,
            scenarios=["x@linf:1"],
            **{**QUIET, "attack": ["fgsm"]},
        )
        found = run.ledger.drop(columns="run").sort_values("sample").to_dict("records")
        return [{name: value for name, value in row.items() if name != "tally"} for row in found]

    assert str(rows(20)) == str(rows(-1))


class Plane(torch.nn.Module):
    def forward(self, inputs: dict[str, Tensor], present: object = None) -> Tensor:
        return inputs["x"][:, :3] * torch.tensor([1.0, -1.0, 0.5])
