"""Grounding: finding the objects of a question from every counting model's features of single
places.
"""

from collections.abc import Iterator

import pytest
import torch

from harness.engine.loading import build_model
from harness.models.counting.counting_recipe import Detecting
from harness.models.counting.grounding import Grounding, cells, covered
from harness.tasks import Task
from harness.tasks.datasets import counting, vqa
from tests.harness.registered import names_in


@pytest.fixture(scope="module")
def task() -> Iterator[Task]:
    """Few scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "SIZES", {"train": 96, "val": 32, "test": 32})
        yield counting.counting()


def test_the_number_of_referred_objects_is_the_answer(task: Task) -> None:
    for split in task.splits.values():
        assert split.referred is not None and split.annotations is not None
        assert not bool((split.referred & (split.annotations[..., 4] < 0)).any())
        questions = counting.scenes_of("train").questions if len(split) == 96 else None
        for row, question in enumerate(questions or ()):
            meant = int(split.referred[row].sum())
            assert meant == int(split.targets[row]) if question.kind == "count" else meant >= int(split.targets[row])


def test_a_yes_speaks_of_something_and_a_what_of_one_thing() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vqa, "SIZES", {"train": 48, "val": 48, "test": 48})
        split = vqa.vqa().splits["train"]
        assert split.referred is not None
        for meant, group, target in zip(
            split.referred.sum(1).tolist(), split.groups, split.targets.tolist(), strict=True
        ):
            if group == "yes-no":
                assert (meant > 0) == (vqa.ANSWERS[target] == "yes")
            elif group == "attribute":
                assert meant == 1


def test_cells_hold_the_middles_of_the_chosen_objects() -> None:
    objects = torch.tensor(
        [[[0.0, 0.5, 0.2, 0.7, 1.0], [0.9, 0.9, 1.0, 1.0, 0.0]], [[0.4, 0.0, 0.6, 0.2, 0.0], [-1.0] * 5]]
    )
    sample, row, column = cells(objects, torch.tensor([[True, True], [True, False]]), torch.zeros(2, 3, 4, 8))
    assert [sample.tolist(), row.tolist(), column.tolist()] == [[0, 0, 1], [2, 3, 0], [0, 7, 4]]


def test_the_middle_of_a_box_is_what_shows_its_object() -> None:
    """One object of 4 × 2 cells on a grid of 8 × 8: half of each side is 2 × 1; at share 0, and for
    small objects, one cell.
    """
    objects, grid = torch.tensor([[[0.25, 0.25, 0.75, 0.5, 1.0], [-1.0] * 5]]), torch.zeros(1, 3, 8, 8)
    chosen = torch.tensor([[True, False]])
    assert covered(objects, chosen, grid, 0.0).sum() == 1
    shown = covered(objects, chosen, grid, 0.9)
    assert shown.sum() == 8 and shown[0, 2:4, 2:6].sum() == 8
    assert not bool(covered(objects, ~chosen & (objects[..., 4] >= 0), grid, 1.0).any())
    small = torch.tensor([[[0.50, 0.50, 0.52, 0.52, 1.0]]])
    assert covered(small, torch.tensor([[True]]), grid, 1.0).sum() == 1


@pytest.mark.parametrize("name", names_in("harness.models.counting"))
def test_every_model_that_sees_places_learns_to_ground(name: str, task: Task) -> None:
    """On one batch, over and over; the readers are not the model's, whose outputs and names stay as
    they were.
    """
    torch.manual_seed(0)
    model, batch = build_model(name, task), task.splits["train"].take(range(32))
    named, before = list(model.state_dict()), model(batch.inputs, None)
    recipe = Detecting()
    (first, *_) = recipe.setup(model, task, None)
    if recipe.grounding is None:
        pytest.skip("sees no places, or learns by a recipe of its own")
    optimizer = torch.optim.Adam(recipe.learning(), 3e-3)
    assert list(model.state_dict()) == named
    losses = []
    for _ in range(60):
        recipe.step(batch, first)
        loss = recipe.grounding(batch, recipe.looked)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert before.shape == model(batch.inputs, None).shape


def test_the_last_call_is_what_is_read_and_boxes_that_fill_do_not_count(task: Task) -> None:
    model, batch = build_model("softcount", task), task.splits["train"].take(range(8))
    grounding = Grounding(model)
    grid = torch.zeros(8, 64, 16, 16)
    model(batch.inputs, None)
    one = grounding(batch, grid)
    filled = {**batch.inputs, "boxes": torch.cat([batch.inputs["boxes"], torch.zeros(8, 5, 5)], 1)}
    model(filled, None)
    torch.testing.assert_close(grounding(batch, grid), one)
    model({**batch.inputs, "question": batch.inputs["question"].flip(0)}, None)
    assert not torch.equal(grounding(batch, grid), one)
    model({**batch.inputs, "boxes": torch.zeros(8, 24, 5)}, None)
    assert grounding(batch, grid) == 0, "nothing is proposed"


@pytest.mark.parametrize("name", ["question-blind", "image-blind"])
def test_baselines_that_see_half_have_nothing_to_ground(name: str, task: Task) -> None:
    recipe = Detecting()
    recipe.setup(build_model(name, task), task, None)
    assert recipe.grounding is None
