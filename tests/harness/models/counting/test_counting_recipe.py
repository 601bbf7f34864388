"""Learning to detect first: the detector's targets, varied images, blurred counts, and the two
stages.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.engine.loading import build_model
from harness.models.counting.augmentation import Variation
from harness.models.counting.backbone import CHANNELS, Grid
from harness.models.counting.counting_recipe import Detecting, Detector
from harness.tasks import Task
from harness.tasks.datasets import counting


@pytest.fixture(scope="module")
def task() -> Iterator[Task]:
    """Few scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "SIZES", {"train": 96, "val": 32, "test": 32})
        yield counting.counting()


def prepared(task: Task, recipe: Detecting, name: str = "movie") -> tuple[torch.nn.Module, list[str]]:
    torch.manual_seed(0)
    model = build_model(name, task)
    return model, [stage.name for stage in recipe.setup(model, task, None)]


def test_the_annotated_objects_are_those_of_the_scene(task: Task) -> None:
    objects = task.splits["train"].annotations
    assert objects is not None
    there = objects[..., 4] >= 0
    scenes = counting.scenes_of("train").scenes
    assert torch.equal(there, torch.tensor(scenes.there))
    assert torch.equal(objects[..., 4:][there], torch.tensor(scenes.attributes).float()[there])
    middle = (objects[..., :2] + objects[..., 2:4])[there] / 2
    assert (middle * counting.MODALITIES[0].shape[1] - torch.tensor(scenes.centres).float()[there]).abs().max() < 1


def test_the_detector_reads_the_cell_of_an_objects_middle() -> None:
    """The loss falls to zero for a grid with exactly this object, and rises when the object is
    elsewhere.
    """
    detector = Detector([2])
    with torch.no_grad():
        detector.read.weight.zero_()
        detector.read.bias.copy_(torch.tensor([-20.0, 0.0, 0.0]))  # type: ignore[union-attr]
        for output, channel in enumerate(range(3)):
            detector.read.weight[output, channel] = 1
    grid = torch.zeros(1, CHANNELS, 4, 4)
    grid[0, :3, 2, 1] = torch.tensor([40.0, 0.0, 40.0])
    objects = torch.tensor([[[0.3, 0.5, 0.4, 0.7, 1.0], [-1.0] * 5]])
    assert detector(grid, objects) < 1e-6
    assert detector(grid.flip(2), objects) > 1
    assert detector(grid, objects * torch.tensor([1.0, 1, 1, 1, 0])) > 1, "the other label"
    assert bool(detector(grid, torch.full((1, 2, 5), -1.0)).isfinite())


def test_two_stages_of_which_the_first_moves_the_grid_only_unless_questions_are_grounded(task: Task) -> None:
    recipe = Detecting(ground=0.0)
    model, stages = prepared(task, recipe)
    assert stages == ["detecting", "scheduled"]
    batch = task.splits["train"].take(range(8))
    assert recipe.first is not None
    recipe.step(batch, recipe.first).backward()
    touched = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.any())
    }
    assert touched and all("encoders.image" in name for name in touched)
    assert any(isinstance(part, Grid) for part in model.modules())
    grounded = Detecting()
    model, _ = prepared(task, grounded)
    assert grounded.first is not None
    grounded.step(batch, grounded.first).backward()
    touched = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.any())
    }
    assert any("encoders.question" in name for name in touched) and not any("classify" in name for name in touched)


def test_kinds_are_counted_at_a_glance_before_and_during_training_on_request(task: Task) -> None:
    batch, losses = task.splits["train"].take(range(8)), {}
    for weight in (0.0, 0.5, 1.0):
        recipe = Detecting(glance=weight)
        prepared(task, recipe, "mutan?attention=false")
        assert recipe.first is not None and (recipe.glancing is None) == (weight == 0)
        losses[weight] = [
            recipe.step(batch, stage).item() for stage in (recipe.first, recipe.setup(recipe.model, task, None)[-1])
        ]
    for none, half, whole in zip(*losses.values(), strict=True):
        assert half > none and abs((whole - half) - (half - none)) < 0.1 * (half - none)
    assert recipe.glancing is not None and recipe.first is not None
    moved = {id(parameter) for group in recipe.first.optimizer.param_groups for parameter in group["params"]}
    assert {id(parameter) for parameter in recipe.glancing.parameters()} <= moved & {
        id(parameter) for parameter in recipe.learning()
    }


def test_a_glance_that_cannot_be_is_refused(task: Task) -> None:
    plain = replace(
        task, splits={name: replace(each, annotations=None, referred=None) for name, each in task.splits.items()}
    )
    refused = {
        "reads the grid of a model that counts": (task, "image-blind", Detecting(glance=1.0)),
        "counts annotated objects, and task 'counting' has none": (plain, "mutan", Detecting(glance=1.0)),
        "take detect=1 or more": (task, "mutan", Detecting(glance=1.0, detect=0)),
        "batch_size=2 or more": (task, "mutan", Detecting(glance=1.0, batch_size=1)),
    }
    for message, (asked, name, recipe) in refused.items():
        with pytest.raises(BadInput, match=f"option glance .*{message}"):
            prepared(asked, recipe, name)


def test_one_stage_where_nothing_is_annotated_or_wanted(task: Task) -> None:
    assert prepared(task, Detecting(detect=0))[1] == ["scheduled"]
    plain = Task(
        "plain",
        task.modalities,
        task.problem,
        {k: replace(v, annotations=None) for k, v in task.splits.items()},
        extra_inputs=task.extra_inputs,
    )
    assert prepared(plain, Detecting())[1] == ["scheduled"]
    empty = replace(
        task,
        splits={
            name: replace(each, annotations=torch.zeros(len(each), 0, 8), referred=None)
            for name, each in task.splits.items()
        },
    )
    assert prepared(empty, Detecting())[1] == ["scheduled"]
    assert prepared(task, Detecting(), "image-blind")[1] == ["scheduled"]


@pytest.mark.parametrize("name", ["movie", "updown"])
def test_samples_that_lack_an_input_teach_nothing_of_what_is_annotated(task: Task, name: str) -> None:
    """The loss of detecting and grounding covers only samples that lack no input."""
    recipe = Detecting()
    prepared(task, recipe, name)
    first, batch = recipe.first, task.splits["train"].take(range(8))
    assert first is not None
    recipe.model.eval()
    whole = torch.tensor([True] * 4 + [False] * 4)
    some = replace(batch, present=torch.stack([whole, torch.ones(8, dtype=torch.bool)], 1))
    assert torch.allclose(recipe.step(some, first), recipe.step(batch.take(range(4)), first), atol=1e-5)
    none = replace(batch, present=torch.zeros(8, 2, dtype=torch.bool))
    loss = recipe.step(none, first)
    loss.backward()
    assert loss == 0
    assert bool(recipe.step(none, recipe.setup(recipe.model, task, None)[-1]).isfinite())


def test_a_grid_of_features_is_detected_in_as_an_image(task: Task) -> None:
    grid = replace(
        task.modalities[0], shape=(8, 16, 16), kind="features", low=-1.0, high=1.0, absent=0.0, ball="linf:0.1"
    )
    torch.manual_seed(0)
    splits = {
        name: replace(each, inputs={**each.inputs, "image": torch.rand(len(each), 8, 16, 16)})
        for name, each in task.splits.items()
    }
    recipe = Detecting()
    _, stages = prepared(replace(task, modalities=(grid, task.modalities[1]), splits=splits), recipe)
    assert stages == ["detecting", "scheduled"]
    assert recipe.first is not None and bool(recipe.step(splits["train"].take(range(8)), recipe.first).isfinite())


def test_both_stages_learn_from_varied_scenes(task: Task) -> None:
    recipe = Detecting(jitter=0.2, mirror=True, cutmix=1.0)
    prepared(task, recipe, "updown")
    assert (recipe.varied.jitter, recipe.varied.mirror, recipe.varied.cutmix) == (0.2, True, 1.0)
    assert recipe.first is not None
    batch, varied = task.splits["train"].take(range(16)), recipe.varied
    for stage in (recipe.first, None):
        losses = []
        for recipe.varied in (varied, Variation(task)):
            torch.manual_seed(0)
            losses.append(recipe.step(batch, stage).item())  # type: ignore[arg-type]
        assert losses[0] != losses[1]


def test_blurred_counts(task: Task, digits: Task) -> None:
    recipe, targets = Detecting(blur=1.0), torch.tensor([3, 0])
    prepared(task, recipe)
    outputs = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    aim = torch.tensor([[-((count - target) ** 2) / 2 for count in range(16)] for target in (3.0, 0.0)]).softmax(1)
    torch.testing.assert_close(recipe.loss(outputs, targets), -(aim * outputs.log_softmax(1)).sum(1).mean())
    batch = task.splits["val"].take(range(8))
    off = recipe.model(batch.inputs, None).argmax(1) - batch.targets
    torch.testing.assert_close(recipe.validate(batch), (-(off.float() ** 2) / 2).exp(), atol=1e-6, rtol=0)
    with pytest.raises(BadInput, match=r"option blur must be 0, for the truth alone, or at least 0.1, not 1e-20"):
        prepared(task, Detecting(blur=1e-20))
    sharp = Detecting()
    prepared(task, sharp)
    torch.testing.assert_close(sharp.loss(outputs, targets), F.cross_entropy(outputs, targets))
    with pytest.raises(
        BadInput, match="option blur is of counts, and task 'digits' does not answer in counts alone: leave it out"
    ):
        recipe.setup(build_model("concat", digits), digits, None)
