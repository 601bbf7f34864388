"""Every model whose answers are maps, as it is built: the shape of its answers, one sample at a
time, nothing from what is missing, and training.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from attacks.errors import BadInput
from harness.engine.loading import build_model, load_model
from harness.models.fused import Fused
from harness.references.registry import MODALITY, names
from harness.tasks import Task
from harness.training.train import Training, fit, recipe_of
from tests.harness.models.dense.small import CLASSES, SAMPLES, inputs_of, small


def _answers_maps(name: str) -> bool:
    """Others refuse a task whose answers are maps."""
    try:
        build_model(name.replace(MODALITY, "rgb"), small((24, 24)))
    except BadInput:
        return False
    return True


DENSE = [
    name for name, place in names("model").items() if place.startswith("harness.models.dense.") and _answers_maps(name)
]
FUSIONS = [name for name in DENSE if MODALITY not in name]
ALONE = [name.replace(MODALITY, modality) for name in DENSE if MODALITY in name for modality in ("rgb", "depth")]
PYRAMIDS = ["cen?decoder=pspnet", "asymfusion?decoder=pspnet", "refinenet-rgb?decoder=pspnet"]
MODELS = [*FUSIONS, *ALONE, *PYRAMIDS]
SIZES = [(24, 24), (18, 30), (32, 40)]
CPU = torch.device("cpu")


def net(name: str, task: Task) -> Fused:
    torch.manual_seed(0)
    model = build_model(name, task).eval()
    assert isinstance(model, Fused)
    return model


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MODELS)
def test_a_map_is_answered_per_sample(name: str, size: tuple[int, int]) -> None:
    task = small(size)
    model, inputs = net(name, task), inputs_of(task)
    whole = model(inputs)
    assert whole.shape == (SAMPLES, CLASSES, *size)
    alone = torch.cat([model({name: x[row : row + 1] for name, x in inputs.items()}) for row in range(SAMPLES)])
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("name", FUSIONS)
def test_what_is_missing_has_no_influence(name: str, column: int) -> None:
    task = small((24, 24))
    model, inputs = net(name, task), inputs_of(task)
    present = torch.ones(SAMPLES, 2, dtype=torch.bool)
    present[::2, column] = False
    moved = {
        **inputs,
        task.names[column]: torch.where(
            present[:, column].reshape(-1, *[1] * (inputs[task.names[column]].ndim - 1)),
            inputs[task.names[column]],
            9.0,
        ),
    }
    assert torch.equal(model(inputs, present), model(moved, present))
    assert not torch.equal(model(inputs), model(moved))


@pytest.mark.parametrize("name", MODELS)
def test_all_present_is_none_missing(name: str) -> None:
    task = small((24, 24))
    model, inputs = net(name, task), inputs_of(task)
    assert torch.equal(model(inputs, torch.ones(SAMPLES, 2, dtype=torch.bool)), model(inputs))
    nothing = model(inputs, torch.zeros(SAMPLES, 2, dtype=torch.bool))
    assert bool(nothing.isfinite().all())
    torch.testing.assert_close(nothing, nothing[:1].expand_as(nothing), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_halves_equal_the_whole(name: str) -> None:
    task = small((24, 24))
    model, inputs = net(name, task), inputs_of(task)
    features = {each: model.encode(each, inputs[each]) for each in model.encoded}
    assert torch.equal(model.fuse(features, None), model(inputs))


@pytest.mark.parametrize("name", MODELS)
def test_every_image_that_is_read_can_be_attacked(name: str) -> None:
    task = small((24, 24))
    model, batch = net(name, task), task.splits["test"]
    inputs = {each: batch.inputs[each].clone().requires_grad_() for each in model.encoded}
    loss = task.problem.loss(model(inputs), batch.targets).sum()
    gradients = torch.autograd.grad(loss, list(inputs.values()))
    assert all(bool(each.isfinite().all()) and bool(each.flatten(1).any(1).all()) for each in gradients)


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_learns(name: str) -> None:
    task, kind = small((24, 24)), name.partition("?")[0]
    recipe = kind if kind in names("recipe") else "supervised"
    before = build_model(name, task)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = build_model(name, task)
    model, score = fit(Training("small", name, recipe, epochs=2), task, recipe_of(recipe), CPU, quiet())
    assert 0 <= score <= 1
    still = [
        key
        for (key, value), start in zip(model.named_parameters(), before.parameters(), strict=True)
        if torch.equal(value, start)
    ]
    assert not still


@pytest.mark.parametrize("name", FUSIONS)
def test_adversarial_training_fits(name: str) -> None:
    task, recipe = small((24, 24)), "multi-source-adversarial?warm_up=1&steps=1"
    model, score = fit(Training("small", name, recipe, epochs=1), task, recipe_of(recipe), CPU, quiet())
    assert 0 <= score <= 1
    assert model(inputs_of(task)).shape == (SAMPLES, CLASSES, 24, 24)


@pytest.mark.parametrize("name", [each for each in FUSIONS if each != "asymfusion"])
def test_three_images_are_fused(name: str) -> None:
    task = small((24, 24), more=("heat",))
    assert net(name, task)(inputs_of(task)).shape == (SAMPLES, CLASSES, 24, 24)


@pytest.mark.parametrize("name", MODELS)
def test_tasks_without_maps_are_refused(name: str, digits: Task) -> None:
    with pytest.raises(BadInput):
        build_model(name.replace("rgb", "image").replace("depth", "audio"), digits)
    with pytest.raises(BadInput, match=r"is image of shape \(12, 24\)"):
        build_model(name.replace("rgb", "depth"), small((24, 24), (12, 24)))


def test_a_branch_is_read_from_a_checkpoint_of_the_ensemble(tmp_path: Path) -> None:
    """By the code and the file, as the card names the ensemble."""
    from harness.models import checkpoint

    task = small((24, 24))
    path = tmp_path / "cen.safetensors"
    checkpoint.save(path, net("cen", task), {"model": "cen", "task": "small"})
    answers = [
        load_model(text.format(path), task, CPU).module(inputs_of(task))
        for text in ("{}", "harness.models.dense.cen:cen?read=rgb@{}", "harness.models.dense.cen:cen?read=depth@{}")
    ]
    torch.testing.assert_close(answers[0], (answers[1] + answers[2]) / 2)


def quiet() -> Console:
    return Console(file=io.StringIO())
