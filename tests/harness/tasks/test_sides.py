"""Nothing stands on two sides of a split unnoticed: ids, sources, equal inputs."""

from dataclasses import replace

import pytest
import torch

from attacks.errors import BadInput
from harness.tasks import Problem, Regression, Task

X = torch.arange(60, dtype=torch.float32).reshape(20, 3)
Y = torch.arange(20) % 2
SPLITS = ["train"] * 10 + ["val"] * 4 + ["test"] * 6


def made(x: torch.Tensor = X, **options: object) -> Task:
    return Task.from_arrays({"x": x}, Y, splits=SPLITS, **options)


@pytest.mark.parametrize(("one", "other"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_an_id_on_two_sides_is_refused(one: str, other: str) -> None:
    splits = dict(made().splits)
    splits[other] = replace(splits[other], samples=(*splits[one].samples[:2], *splits[other].samples[2:]))
    with pytest.raises(
        BadInput,
        match=f"sample '0000..' and 1 more of task 'arrays' is in {one} and in {other}.*: keep each in one split",
    ):
        replace(made(), splits=splits)


def test_a_source_on_two_sides_is_refused() -> None:
    videos = [f"v{row // 2}" for row in range(20)]
    task = made(sources=videos)
    assert task.splits["test"].sources == tuple(videos[14:]) and task.splits["test"].take([0, 2]).sources == (
        "v7",
        "v8",
    )
    assert task.splits["test"].to("cpu").sources == tuple(videos[14:])
    assert task.definition_hash == made().definition_hash
    with pytest.raises(BadInput, match="source 'v0' of task 'arrays' is in train and in test"):
        made(sources=[*videos[:-1], "v0"])
    with pytest.raises(BadInput, match="20 samples but 1 sources"):
        made(sources=["a"])


def test_a_group_is_in_one_split_unless_the_task_allows_more() -> None:
    with pytest.raises(
        BadInput, match=r"group 'a' and 1 more of task 'arrays' is in train and in val, .*splits= names it, or allow"
    ):
        made(groups=["a", "b"] * 10)
    meant = made(groups=["a", "b"] * 10, duplicates="allowed")
    assert meant.splits["test"].groups == ("a", "b") * 3
    assert replace(meant, duplicates="flagged", report_groups=("a", "b")).report_groups == ("a", "b"), (
        "kinds of samples are no groups"
    )
    assert made(groups=["all"] * 20).splits["test"].groups == ("all",) * 6
    splits = made(groups=[f"video{row // 2}" for row in range(20)]).splits
    assert not set(splits["train"].groups) & set(splits["test"].groups)


def test_equal_inputs_are_flagged_with_their_count() -> None:
    assert made().notes == ""
    x = X.clone()
    x[14:16], x[17] = x[:2], x[18]
    flag = (
        "2 of 6 test samples have the same inputs as a sample of train or val; "
        "2 of 6 test samples have the same inputs as another test sample"
    )
    assert made(x).notes == flag and replace(made(x), note="about radii").notes == f"about radii; {flag}"
    assert made(x, duplicates="allowed").notes == "" and made(x).note == ""
    assert made(x, duplicates="allowed").definition_hash == made(x).definition_hash
    with pytest.raises(BadInput, match="unknown word 'maybe' for duplicates"):
        made(x, duplicates="maybe")


SEVERAL = {
    "one-hot": torch.nn.functional.one_hot(Y, 3),
    "labels": torch.rand(20, 3),
    "boxes": torch.rand(20, 4),
    "maps": torch.zeros(20, 8, 8, dtype=torch.int64),
    "a column": Y[:, None],
}


@pytest.mark.parametrize("problem", [None, Regression(1.0)])
@pytest.mark.parametrize("name", SEVERAL)
def test_targets_that_a_problem_cannot_mean_are_refused(name: str, problem: Problem | None) -> None:
    with pytest.raises(BadInput, match=r"(targets of a regression must be|name their problem)"):
        Task.from_arrays({"x": X}, SEVERAL[name], splits=SPLITS, problem=problem)


class Older:
    """A problem as earlier versions had it."""

    width = 3


def test_a_problem_of_an_earlier_version_is_refused() -> None:
    with pytest.raises(
        BadInput, match=r"add shape, .*label, tally, metrics \(`shape` is the \(width,\) of earlier versions"
    ):
        made(problem=Older())  # type: ignore[arg-type]
