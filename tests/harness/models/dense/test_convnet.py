"""The segmenter: maps of the right size, one sample at a time, and nothing of what is missing."""

from __future__ import annotations

import pytest
import torch

from attacks.errors import BadInput
from harness.models.dense.convnet import segmenter, segmenter_of
from harness.tasks import Task
from tests.harness.models.dense.small import CLASSES, SAMPLES, inputs_of, small

SIZES = [(24, 24), (18, 30), (48, 16)]


def net(task: Task) -> torch.nn.Module:
    torch.manual_seed(0)
    return segmenter(task).eval()


@pytest.mark.parametrize("size", SIZES)
def test_a_map_is_answered_per_sample(size: tuple[int, int]) -> None:
    task = small(size)
    model, inputs = net(task), inputs_of(task)
    whole = model(inputs)
    assert whole.shape == (SAMPLES, CLASSES, *size)
    alone = torch.cat([model({name: x[row : row + 1] for name, x in inputs.items()}) for row in range(SAMPLES)])
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_halves_equal_the_whole(size: tuple[int, int]) -> None:
    task = small(size)
    model, inputs = net(task), inputs_of(task)
    features = {name: model.encode(name, inputs[name]) for name in model.encoded}
    assert torch.equal(model.fuse(features, None), model(inputs))


@pytest.mark.parametrize("column", [0, 1])
def test_what_is_missing_has_no_influence(column: int) -> None:
    task = small((24, 24))
    model, inputs = net(task), inputs_of(task)
    present = torch.ones(SAMPLES, 2, dtype=torch.bool)
    present[:, column] = False
    name = task.names[column]
    moved = {**inputs, name: 1 - inputs[name]}
    assert torch.equal(model(inputs, present), model(moved, present))
    assert not torch.equal(model(inputs), model(moved))


def test_one_image_is_read_alone() -> None:
    task = small((24, 24))
    model, inputs = segmenter_of(task, "depth").eval(), inputs_of(task)
    assert model.encoded == ("depth",)
    assert model({"depth": inputs["depth"]}).shape == (SAMPLES, CLASSES, 24, 24)


def test_other_tasks_are_refused(digits: Task) -> None:
    with pytest.raises(BadInput, match="'digits' asks for answers of shape"):
        segmenter(digits)
    with pytest.raises(BadInput, match=r"'depth' of task 'small' is image of shape \(12, 24\)"):
        segmenter(small((24, 24), (12, 24)))
    with pytest.raises(BadInput, match="odd"):
        segmenter(small((24, 25)))
