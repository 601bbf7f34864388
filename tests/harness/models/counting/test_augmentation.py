"""Varied scenes: mirrored, in another light, joined; their annotations stay true."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from attacks.errors import BadInput
from harness.models.counting.augmentation import NARROWEST, Cut, Variation
from harness.tasks import Batch, Task
from harness.tasks.datasets import counting

SIDEWAYS = {"left", "right"}
UP_OR_DOWN = {"above", "over", "upper", "top", "below", "under", "lower", "bottom"}


@pytest.fixture(scope="module")
def task() -> Iterator[Task]:
    """Few scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "SIZES", {"train": 480, "val": 32, "test": 32})
        yield counting.counting()


def words(task: Task, batch: Batch) -> list[set[str]]:
    tokens = task.modality("question").tokens
    return [{tokens[number] for number in row.argmax(1).tolist()} for row in batch.inputs["question"]]


def meanings(batch: Batch) -> list[bytes]:
    return [free.numpy().tobytes() for free in batch.editable["question"]]


def test_images_change_only_on_request(task: Task) -> None:
    batch = task.splits["train"].take(range(32))
    state = torch.random.get_rng_state()
    assert Variation(task)(batch) is batch
    assert torch.equal(torch.random.get_rng_state(), state), "nothing is drawn, either"


def test_mirrored_boxes_follow_the_image(task: Task) -> None:
    batch = task.splits["train"].take(range(32))
    torch.manual_seed(0)
    turned = Variation(task, mirror=True)(batch)
    assert batch.annotations is not None and turned.annotations is not None
    for row in range(32):
        axes = [
            axes
            for axes in ((), (2,), (1,), (1, 2))
            if torch.equal(batch.inputs["image"][row].flip(axes), turned.inputs["image"][row])
        ]
        assert len(axes) == 1
        for before, after in ((batch.inputs["boxes"], turned.inputs["boxes"]), (batch.annotations, turned.annotations)):
            expected = before[row].clone()
            real = expected[:, 2] > expected[:, 0]
            for axis, column in ((2, 0), (1, 1)):
                if axis in axes[0]:
                    ends = 1 - expected[:, [column + 2, column]]
                    expected[:, [column, column + 2]] = torch.where(
                        real[:, None], ends, expected[:, [column, column + 2]]
                    )
            torch.testing.assert_close(after[row], expected)
    assert len({tuple(image.flatten()[:3].tolist()) for image in turned.inputs["image"]}) > 1


def test_an_image_is_not_mirrored_where_the_question_would_be_false(task: Task) -> None:
    batch = task.splits["train"].take(range(96))
    torch.manual_seed(0)
    turned = Variation(task, mirror=True)(batch).inputs["image"]
    seen = set()
    for image, after, said in zip(batch.inputs["image"], turned, words(task, batch), strict=True):
        sideways = bool(said & SIDEWAYS)
        down = bool(said & UP_OR_DOWN)
        ways = [axes for axes in ((), (2,), (1,), (1, 2)) if torch.equal(image.flip(axes), after)]
        assert not (sideways and 2 in ways[0]) and not (down and 1 in ways[0])
        seen.add((sideways, down, ways[0]))
    assert {(True, False, (1,)), (False, True, (2,)), (False, False, (1, 2))} <= seen


def test_another_light_moves_images_within_their_range_and_nothing_else(task: Task) -> None:
    batch = task.splits["train"].take(range(16))
    lit = Variation(task, jitter=0.3)(batch)
    image = lit.inputs["image"]
    assert not torch.equal(image, batch.inputs["image"]) and image.min() >= 0 and image.max() <= 255
    assert torch.equal(lit.inputs["boxes"], batch.inputs["boxes"]) and lit.annotations is batch.annotations


def test_a_joined_image_is_two_sides_of_images_with_the_same_question(task: Task) -> None:
    train = task.splits["train"]
    torch.manual_seed(0)
    joined = Variation(task, cutmix=1.0)(train)
    changed = (joined.inputs["image"] != train.inputs["image"]).flatten(1).any(1).nonzero()[:, 0].tolist()
    assert len(changed) > len(train) // 4
    meant = meanings(train)
    height = train.inputs["image"].shape[2]
    for row in changed[:40]:
        here = (joined.inputs["image"][row] == train.inputs["image"][row]).all(0)
        partners = [each for each in range(len(train)) if meant[each] == meant[row]]
        sides = [
            other
            for other in partners
            if bool((joined.inputs["image"][row] == train.inputs["image"][other]).all(0)[~here].all())
        ]
        assert sides, "the rest is of one other image that is asked the same"
        whole = [bool(line.all()) for way in (here, here.T) for line in (way[: int(NARROWEST * height)],)]
        assert any(whole), "the own side reaches from edge to edge"


def test_counts_objects_and_proposals_are_those_of_both_sides(task: Task) -> None:
    train = task.splits["train"]
    assert train.annotations is not None and train.referred is not None
    torch.manual_seed(0)
    joined = Variation(task, cutmix=1.0)(train)
    assert joined.annotations is not None and joined.referred is not None
    moved = joined.targets != train.targets
    assert moved.sum() > len(train) // 8
    assert torch.equal(joined.referred[moved].sum(1), joined.targets[moved]) and int(joined.targets.max()) < task.width
    assert not bool((joined.referred & (joined.annotations[..., 0] < 0)).any()), "what is asked for is there"
    known = {tuple(each) for each in train.annotations.flatten(0, 1).tolist()}
    assert {tuple(each) for each in joined.annotations.flatten(0, 1).tolist()} <= known
    boxes = joined.inputs["boxes"]
    assert boxes.shape == train.inputs["boxes"].shape and bool((boxes[..., 4].diff(dim=1) <= 0).all()), (
        "the surest first"
    )
    same = (joined.inputs["image"] == train.inputs["image"]).flatten(1).all(1)
    assert torch.equal(boxes[same & ~moved], train.inputs["boxes"][same & ~moved])


def test_a_question_of_places_is_not_joined(task: Task) -> None:
    train = task.splits["train"]
    torch.manual_seed(0)
    joined = Variation(task, cutmix=1.0)(train)
    placed = torch.tensor([bool(said & (SIDEWAYS | UP_OR_DOWN)) for said in words(task, train)])
    assert placed.any() and not placed.all()
    assert torch.equal(joined.inputs["image"][placed], train.inputs["image"][placed])
    assert torch.equal(joined.targets[placed], train.targets[placed])


def test_a_sample_that_lacks_an_input_is_not_joined(task: Task) -> None:
    present = torch.ones(len(task.splits["train"]), 2, dtype=torch.bool)
    present[::2, 0] = False
    train = replace(task.splits["train"], present=present)
    torch.manual_seed(0)
    joined = Variation(replace(task, splits={**task.splits, "train": train}), cutmix=1.0)(train)
    assert torch.equal(joined.inputs["image"][::2], train.inputs["image"][::2])
    assert not torch.equal(joined.inputs["image"][1::2], train.inputs["image"][1::2])


def test_what_is_given_beside_boxes_stays(task: Task) -> None:
    """It may have any shape."""
    splits = {
        name: replace(each, inputs={**each.inputs, "scale": torch.rand(len(each), 3)})
        for name, each in task.splits.items()
    }
    more = splits["train"]
    torch.manual_seed(0)
    varied = Variation(
        replace(task, extra_inputs=(*task.extra_inputs, "scale"), splits=splits), mirror=True, cutmix=1.0
    )(more)
    assert torch.equal(varied.inputs["scale"], more.inputs["scale"]) and not torch.equal(
        varied.inputs["boxes"], more.inputs["boxes"]
    )


def test_a_cut_leaves_a_quarter_at_least_and_parts_boxes_as_it_parts_pixels() -> None:
    torch.manual_seed(0)
    cut = Cut.drawn(400, torch.device("cpu"))
    assert cut.level.any() and not cut.level.all()
    assert NARROWEST <= cut.at.min() < 0.3 and 0.7 < cut.at.max() <= 1 - NARROWEST
    pixels, box = cut.pixels(32, 64), torch.tensor([[[0.0, 0.0, 0.1, 0.1], [0.9, 0.9, 1.0, 1.0]]]).expand(400, -1, -1)
    assert cut.before(box)[:, 0].all() and not cut.before(box)[:, 1].any()
    assert pixels[:, 0, 0].all() and not pixels[:, -1, -1].any()
    share = pixels.float().mean((1, 2))
    assert (share - cut.at).abs().max() < 1 / 32


def test_what_cannot_be_joined_is_refused(task: Task, digits: Task) -> None:
    with pytest.raises(
        BadInput, match="option cutmix needs counts, and task 'digits' does not answer in counts alone: leave it out"
    ):
        Variation(digits, cutmix=0.5)
    grids = replace(task, modalities=(replace(task.modalities[0], kind="features"), task.modalities[1]))
    with pytest.raises(BadInput, match="change images, and task 'counting' has no image"):
        Variation(grids, mirror=True)
    plain = replace(
        task, splits={name: replace(split, annotations=None, referred=None) for name, split in task.splits.items()}
    )
    with pytest.raises(
        BadInput,
        match="option cutmix counts annotated objects, and task 'counting' has no annotations: leave it out",
    ):
        Variation(plain, cutmix=0.5)
