"""Targets that name places in an input: what moves the input would leave them behind."""

import pytest
import torch

from attacks.errors import BadInput
from attacks.scenario import parse
from harness.corruptions.corruption import Corruption
from harness.tasks import Boxes, Classification, Enhancement, Problem, Segmentation, Task

SHAPES = {"picture": (1, 8, 8), "scan": (4, 8), "row": (8,), "sound": (64,)}
BOX = torch.tensor([[[0, 0, 0, 0.5, 0.5]]]).expand(20, -1, -1)
CASES: list[tuple[Problem, torch.Tensor, set[str]]] = [
    (Boxes(1, 1, most=1), BOX, {"picture", "scan"}),
    (Segmentation(2, (8, 8)), torch.zeros(20, 8, 8, dtype=torch.int64), {"picture"}),
    (Enhancement(64), torch.ones(20, 2, 64).cumsum(2), {"sound"}),
    (Classification(2), torch.zeros(20, dtype=torch.int64), set()),
]


def of(problem: Problem, targets: torch.Tensor) -> Task:
    inputs = {name: torch.randn(20, *shape) for name, shape in SHAPES.items()}
    return Task.from_arrays(inputs, targets, kinds={"picture": "image", "sound": "audio"}, problem=problem)


@pytest.mark.parametrize(("problem", "targets", "under"), CASES)
def test_targets_name_places_in_some_inputs(problem: Problem, targets: torch.Tensor, under: set[str]) -> None:
    task = of(problem, targets)
    assert {name for name in task.names if task.lies_under(name)} == under


@pytest.mark.parametrize(("problem", "targets", "under"), CASES)
@pytest.mark.parametrize("name", ["scan", "row", "sound"])
def test_a_shift_is_refused_where_it_would_leave_the_target_behind(
    problem: Problem, targets: torch.Tensor, under: set[str], name: str
) -> None:
    task = of(problem, targets)
    if name not in under:
        task.check_scenario(parse(f"{name}@shift:2"))
        return
    with pytest.raises(BadInput, match="moves the input but not the target"):
        task.check_scenario(parse(f"{name}@shift:2"))
    if name == "sound":
        with pytest.raises(BadInput, match="moves the input but not the target"):
            Corruption.parse("sound@shift:2", task)
