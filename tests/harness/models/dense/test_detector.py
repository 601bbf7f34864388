"""The detector: a box at every cell, one sample at a time, and nothing of what is missing."""

from __future__ import annotations

import pytest
import torch

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.models.dense.detector import detector, detector_of
from harness.tasks import Batch, Boxes, Modality, Task

CLASSES, SAMPLES = 2, 6
SIZES = [(24, 24), (16, 32)]


def small(size: tuple[int, int], scan: tuple[int, ...] = (3, 24), places: int | None = None) -> Task:
    """A task of colour, depth without a channel, and a scan."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"rgb": (3, *size), "depth": size, "range": scan}
    modalities = tuple(
        Modality(name, shape, "features" if name == "range" else "image", 0.0, 1.0) for name, shape in shapes.items()
    )
    inputs = {name: torch.rand(SAMPLES, *shape, generator=generator) for name, shape in shapes.items()}
    targets = torch.tensor([[[1, 0.2, 0.1, 0.6, 0.5]]]).repeat(SAMPLES, 1, 1)
    splits = {
        split: Batch(tuple(f"{split}{row}" for row in range(SAMPLES)), inputs, targets, ("all",) * SAMPLES)
        for split in ("train", "val", "test")
    }
    problem = Boxes(CLASSES, places or size[0] * size[1] // 16)
    return Task("small", modalities, problem, splits, duplicates="allowed")


def net(task: Task) -> torch.nn.Module:
    torch.manual_seed(0)
    return detector(task).eval()


def inputs_of(task: Task) -> Inputs:
    return task.splits["test"].inputs


@pytest.mark.parametrize("size", SIZES)
def test_every_cell_answers_per_sample(size: tuple[int, int]) -> None:
    task = small(size)
    model, inputs = net(task), inputs_of(task)
    whole = model(inputs)
    assert whole.shape == (SAMPLES, *task.problem.shape)
    alone = torch.cat([model({name: x[row : row + 1] for name, x in inputs.items()}) for row in range(SAMPLES)])
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_boxes_lie_around_their_cells(size: tuple[int, int]) -> None:
    boxes = net(small(size))(inputs_of(small(size)))[..., CLASSES + 1 :]
    rows, columns = size[0] // 4, size[1] // 4
    across, down = (boxes[0, :, [0, 2]].mean(1), boxes[0, :, [1, 3]].mean(1))
    assert across.reshape(rows, columns).mean(0).diff().min() > 0
    assert down.reshape(rows, columns).mean(1).diff().min() > 0
    assert boxes.min() >= 0 and boxes.max() <= 1


def test_halves_equal_the_whole() -> None:
    task = small((24, 24))
    model, inputs = net(task), inputs_of(task)
    features = {name: model.encode(name, inputs[name]) for name in model.encoded}
    assert torch.equal(model.fuse(features, None), model(inputs))


@pytest.mark.parametrize("column", [0, 1, 2])
def test_what_is_missing_has_no_influence(column: int) -> None:
    task = small((24, 24))
    model, inputs = net(task), inputs_of(task)
    present = torch.ones(SAMPLES, 3, dtype=torch.bool)
    present[:, column] = False
    name = task.names[column]
    moved = {**inputs, name: 1 - inputs[name]}
    assert torch.equal(model(inputs, present), model(moved, present))
    assert not torch.equal(model(inputs), model(moved))


@pytest.mark.parametrize("name", ["rgb", "depth", "range"])
def test_one_sensor_is_read_alone(name: str) -> None:
    task = small((24, 24))
    model, inputs = detector_of(task, name).eval(), inputs_of(task)
    assert model.encoded == (name,)
    assert model({name: inputs[name]}).shape == (SAMPLES, *task.problem.shape)


def test_other_tasks_are_refused(digits: Task) -> None:
    with pytest.raises(BadInput, match="'digits' asks for answers of shape"):
        detector(digits)
    with pytest.raises(BadInput, match="'small' asks for 7 places"):
        detector(small((24, 24), places=7))
    with pytest.raises(BadInput, match=r"'range' of task 'small' is features of shape \(24,\)"):
        detector(small((24, 24), (24,)))
