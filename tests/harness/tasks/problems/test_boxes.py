"""A set of boxes: what is lost and what is invented, and COCO's mean average precision."""

import contextlib
import io
import re

import pytest
import torch
from torch import Tensor

from attacks.errors import BadInput
from harness.tasks import Boxes
from harness.tasks.problems.detections import iou, suppressed

LEFT, RIGHT, NEAR_LEFT = (0.0, 0.0, 0.4, 0.5), (0.5, 0.5, 1.0, 1.0), (0.0, 0.0, 0.4, 0.4)
SMALL = Boxes(2, 3, most=3)
TARGETS = torch.tensor([[[0, *LEFT], [1, *RIGHT], [-1, 0, 0, 0, 0]]])
SIZE = 512  # pixels of COCO's boxes: a power of two, so that shares become pixels without rounding


def answer(*places: tuple[int, float, tuple[float, ...]]) -> Tensor:
    """Outputs (1, 3, 7) that see a class at a log-odds, for each place; the rest see nothing."""
    outputs = torch.zeros(1, 3, 7)
    outputs[..., 2] = 40
    for place, (kind, odds, box) in enumerate(places):
        outputs[0, place, :3] = torch.tensor([-40.0, -40, 0])
        outputs[0, place, kind] = odds
        outputs[0, place, 3:] = torch.tensor(box)
    return outputs


FOUND = ((0, 3.0, LEFT), (1, 3.0, RIGHT))


@pytest.mark.parametrize(
    ("places", "label"),
    [
        (FOUND, "right"),
        (((0, 3.0, LEFT),), "1 lost"),
        ((), "2 lost"),
        (((0, 3.0, LEFT), (1, -1.0, RIGHT)), "1 lost"),
        (((0, 3.0, LEFT), (1, 0.0, RIGHT)), "1 lost"),  # a tie
        (((0, 3.0, NEAR_LEFT), (1, 3.0, RIGHT)), "right"),
        (((0, 3.0, (0.2, 0.0, 0.6, 0.5)), (1, 3.0, RIGHT)), "1 lost, 1 invented"),  # too far aside
        (((1, 3.0, LEFT), (1, 3.0, RIGHT)), "1 lost, 1 invented"),  # another class
        ((*FOUND, (1, 2.0, LEFT)), "1 invented"),
        ((*FOUND, (1, -2.0, LEFT)), "right"),
        ((*FOUND, (0, 2.0, NEAR_LEFT)), "right"),  # suppressed
        ((*FOUND, (0, 2.0, (0.2, 0.0, 0.4, 0.5))), "1 invented"),  # the same object twice
    ],
)
def test_what_is_lost_and_what_is_invented(
    places: tuple[tuple[int, float, tuple[float, ...]], ...], label: str
) -> None:
    outputs = answer(*places)
    assert SMALL.label(SMALL.predictions(outputs), TARGETS) == [label]
    verdict = SMALL.verdict(outputs, TARGETS)
    assert verdict.fails.tolist() == [label != "right"] == (verdict.losses["margin"] >= 0).tolist()
    counted = {what: int(count) for count, what in re.findall(r"(\d) (\w+)", label)}
    found = 2 - counted.get("lost", 0)
    assert SMALL.score(outputs, TARGETS).item() == pytest.approx(2 * found / (2 + found + counted.get("invented", 0)))


@pytest.mark.parametrize(
    ("places", "margin"),
    [
        (((0, 3.0, LEFT), (1, 1.0, RIGHT)), -1.0),
        (((0, -2.0, LEFT), (1, 1.0, RIGHT)), 2.0),
        ((*FOUND, (1, 2.0, LEFT)), 2.0),
        ((*FOUND, (1, -0.5, LEFT)), -0.5),
        (((0, 3.0, (0.0, 0.0, 0.4, 0.4)), (1, 3.0, RIGHT)), float(torch.tensor(0.25).log())),  # IoU 0.8
    ],
)
def test_the_margin_is_the_nearest_way_to_fail(
    places: tuple[tuple[int, float, tuple[float, ...]], ...], margin: float
) -> None:
    verdict = SMALL.verdict(answer(*places), TARGETS)
    assert verdict.losses["margin"].item() == pytest.approx(margin, abs=1e-4)


@pytest.mark.parametrize(
    ("places", "floor", "margin"),
    [
        (((0, 3.0, LEFT), (1, 1.0, RIGHT)), 0.9, -1.0),  # one lost: 2/3
        (((0, 3.0, LEFT), (1, 1.0, RIGHT)), 2 / 3, -3.0),  # both lost
        (((0, 3.0, LEFT), (1, 1.0, RIGHT)), 0.0, -3.0),  # nothing is left
        (((0, 3.0, LEFT), (1, -1.0, RIGHT)), 2 / 3, -3.0),  # one is lost untouched
        (((0, 3.0, LEFT), (1, 2.0, RIGHT), (1, -1.0, LEFT)), 0.9, -1.0),  # one invented: 4/5
        (((0, 3.0, LEFT), (1, 2.0, RIGHT), (1, -1.0, LEFT)), 0.75, -2.0),  # one invented and one lost
    ],
)
def test_a_sample_fails_below_its_floor(
    places: tuple[tuple[int, float, tuple[float, ...]], ...], floor: float, margin: float
) -> None:
    verdict = SMALL.verdict(answer(*places), TARGETS, torch.tensor([floor], dtype=torch.float64))
    assert verdict.losses["margin"].item() == pytest.approx(margin, abs=1e-4)
    assert not bool(verdict.fails.any())


def test_a_sample_without_objects_fails_where_one_is_invented() -> None:
    nothing = torch.tensor([[[-1.0, 0, 0, 0, 0]]])
    assert SMALL.score(answer(), nothing).item() == 1
    assert SMALL.score(answer((0, 1.0, LEFT)), nothing).item() == 0
    assert SMALL.label(nothing) == ["nothing"]


def test_the_least_confidence_is_an_option() -> None:
    sure = Boxes(2, 3, most=3, confidence=0.9)
    low, high = answer((0, 2.0, LEFT), (1, 3.0, RIGHT)), answer((0, 2.3, LEFT), (1, 3.0, RIGHT))
    assert sure.score(torch.cat([low, high]), TARGETS.repeat(2, 1, 1)).tolist() == pytest.approx([2 / 3, 1])


def test_suppression_takes_the_most_confident_first() -> None:
    boxes = torch.tensor([[LEFT, NEAR_LEFT, RIGHT]])
    sure, kinds = torch.tensor([[1.0, 2.0, 0.0]]), torch.zeros(1, 3, dtype=torch.int64)
    assert suppressed(sure, kinds, boxes, 3, 0.5).tolist() == [[1, 2, -1]]
    assert suppressed(sure, torch.tensor([[0, 1, 0]]), boxes, 3, 0.5).tolist() == [[1, 0, 2]]
    assert suppressed(sure, kinds, boxes, 1, 0.5).tolist() == [[1]]
    assert iou(boxes, boxes)[0, 0].tolist() == pytest.approx([1, 0.8, 0])


def drawn(generator: torch.Generator, images: int = 8) -> tuple[Tensor, Tensor]:
    """Answers of 30 places and up to 6 objects of 3 classes; places lie around objects."""
    start, side = torch.rand(images, 6, 2, generator=generator) * 0.6, torch.rand(images, 6, 2, generator=generator)
    boxes = torch.cat([start, start + 0.1 + 0.3 * side], 2)
    kinds = torch.randint(-1, 3, (images, 6, 1), generator=generator).float()
    shift = 0.08 * (torch.rand(images, 30, 4, generator=generator) - 0.5)
    logits = 2 * torch.randn(images, 30, 4, generator=generator)
    logits.scatter_add_(2, kinds.repeat(1, 5, 1).long() % 4, torch.full((images, 30, 1), 2.0))
    return torch.cat([logits, boxes.repeat(1, 5, 1) + shift], 2), torch.cat([kinds, boxes], 2)


def coco(answers: Tensor, targets: Tensor) -> tuple[float, float]:
    """Mean average precision over IoU .50 to .95, and at .50, by pycocotools."""
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def listed(rows: Tensor) -> list[dict[str, object]]:
        return [
            {"image_id": image, "category_id": int(kind), "bbox": [x, y, right - x, low - y], "score": sure[0]}
            for image, each in enumerate(rows.double().tolist())
            for kind, x, y, right, low, *sure in each
            if kind >= 0
        ]

    def scaled(rows: Tensor) -> Tensor:
        return torch.cat([rows[..., :1], SIZE * rows[..., 1:5], rows[..., 5:]], 2)

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        objects = listed(torch.cat([scaled(targets), torch.zeros_like(targets[..., :1])], 2))
        boxed = [{**each, "id": number + 1, "iscrowd": 0} for number, each in enumerate(objects)]
        for each in boxed:
            each["area"] = each["bbox"][2] * each["bbox"][3]  # type: ignore[index]
        truth.dataset = {
            "images": [{"id": image} for image in range(len(targets))],
            "categories": [{"id": kind} for kind in range(3)],
            "annotations": boxed,
        }
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(listed(scaled(answers))), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return float(judged.stats[0]), float(judged.stats[1])


def test_average_precision_agrees_with_pycocotools() -> None:
    problem, generator = Boxes(3, 30), torch.Generator().manual_seed(0)
    for _ in range(100):
        outputs, targets = drawn(generator)
        found = problem.metrics(problem.tally(outputs, targets))
        expected = coco(problem.predictions(outputs), targets)
        assert (found["map"], found["map50"]) == pytest.approx(expected, abs=1e-6)
        assert 0.05 < found["map50"] < 0.95


def test_the_tallies_of_a_set_have_one_length() -> None:
    problem = Boxes(3, 30, most=40)
    tally = problem.tally(*drawn(torch.Generator().manual_seed(0)))
    assert tally.shape == (8, 2 * 40 + 3)
    assert "map" not in problem.metrics(torch.cat([tally[:, :80], torch.zeros(8, 3)], 1)), "there are no objects"


def test_failures_are_what_the_label_counts() -> None:
    problem, generator = Boxes(3, 30), torch.Generator().manual_seed(1)
    for _ in range(20):
        outputs, targets = drawn(generator)
        kept = (targets[..., 0] >= 0) & (torch.arange(6) < 2)  # few objects: some samples are right
        targets[..., 0] = targets[..., 0].where(kept, -1)
        outputs[..., 3] += torch.linspace(0, 12, 8)[:, None]
        verdict, labels = problem.verdict(outputs, targets), problem.label(problem.predictions(outputs), targets)
        assert verdict.fails.tolist() == [each != "right" for each in labels]
        scores = problem.score(outputs, targets)
        for floor in (0.0, 0.2, 0.5, 2 / 3, 0.75, 0.9):
            judged = problem.verdict(outputs, targets, torch.full((8,), floor, dtype=torch.float64))
            assert torch.equal(judged.fails, judged.losses["margin"] >= 0)
            assert torch.equal(judged.fails, (scores < floor - 1e-6) | (scores == 0))


def test_losses_have_gradients() -> None:
    problem = Boxes(3, 30)
    outputs, targets = drawn(torch.Generator().manual_seed(0))
    outputs.requires_grad_()
    for name, loss in problem.verdict(outputs, targets).losses.items():
        (gradient,) = torch.autograd.grad(loss.sum(), outputs, retain_graph=True)
        assert bool(gradient.isfinite().all()) and bool(gradient.any()), name


def test_training_finds_the_objects() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, targets = drawn(generator, 1)
    problem, targets = Boxes(3, 30), targets[:, :2].clamp_min(0)
    outputs.requires_grad_()
    optimizer = torch.optim.Adam([outputs], 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        problem.loss(outputs, targets).sum().backward()
        optimizer.step()
    assert problem.label(problem.predictions(outputs), targets) == ["right"]


def test_labels_name_the_classes() -> None:
    assert SMALL.label(TARGETS) == ["1 of class 0, 1 of class 1"]
    assert Boxes(2, 3, ("car", "truck"), most=3).label(TARGETS) == ["1 car, 1 truck"]


def with_box(kind: float, *box: float) -> Tensor:
    return torch.tensor([[[float(kind), *box]]])


@pytest.mark.parametrize(
    ("problem", "targets", "why"),
    [
        (SMALL, torch.zeros(4, 5), "give real numbers \\(N, M, 5\\)"),
        (SMALL, torch.zeros(4, 2, 4), "give real numbers \\(N, M, 5\\)"),
        (SMALL, torch.zeros(4, 2, 5, dtype=torch.int64), "give real numbers"),
        (SMALL, with_box(2, *LEFT), "hold class 2: number the 2 classes from 0"),
        (SMALL, with_box(0.5, *LEFT), "hold class 0.5"),
        (SMALL, with_box(-2, *LEFT), "hold class -2"),
        (SMALL, with_box(float("nan"), *LEFT), "hold class nan"),
        (SMALL, with_box(0, 3, 4, 20, 30), "leaves the image: give corners as shares"),
        (SMALL, with_box(0, 0, 0, float("nan"), 1), "leaves the image"),
        (SMALL, with_box(0, 0.5, 0.5, 0.5, 0.9), "has no area"),
        (SMALL, with_box(0, 0.5, 0.5, 0.2, 0.2), "has no area"),  # a width and a height
        (Boxes(70_000, 3), TARGETS, "up to 65536, got 70000 classes"),
        (Boxes(2, 0), TARGETS, "at least one class and place"),
        (Boxes(2, 3, confidence=1.0), TARGETS, "a confidence between 0 and 1"),
        (Boxes(2, 3, ("a",)), TARGETS, "name each class"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(problem: Boxes, targets: Tensor, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        problem.check_targets(targets)
