"""A class for every pixel: what is judged, and how exactly its critical strengths are found."""

import math
from collections.abc import Callable
from itertools import chain, pairwise

import pytest
import torch
from torch import Tensor

from attacks.errors import BadInput
from attacks.presets import FAST, STANDARD
from attacks.scenario import parse
from attacks.search_state import search_all
from harness.engine.graded import searched
from harness.engine.objective import TaskObjective
from harness.tasks import Segmentation
from tests.harness.tasks.problems.linear_maps import Pixelwise, exact, exact_in_range, logits, maps

SMALL = Segmentation(3, (1, 4))
TARGETS = torch.tensor([[[0, 1, 2, 255]]])


def outputs(*classes: int) -> torch.Tensor:
    return 4.0 * torch.nn.functional.one_hot(torch.tensor([[classes]]), 3).movedim(-1, 1).float()


@pytest.mark.parametrize(("classes", "score"), [((0, 1, 2, 0), 1.0), ((0, 1, 1, 0), 2 / 3), ((1, 2, 0, 0), 0.0)])
def test_the_score_is_the_share_of_right_pixels_that_count(classes: tuple[int, ...], score: float) -> None:
    assert SMALL.score(outputs(*classes), TARGETS).item() == pytest.approx(score)


@pytest.mark.parametrize(("floor", "fails"), [(1 / 3, False), (2 / 3, False), (0.67, True), (1.0, True)])
def test_a_sample_fails_below_its_floor(floor: float, fails: bool) -> None:
    verdict = SMALL.verdict(outputs(0, 1, 1, 0), TARGETS, torch.tensor([floor], dtype=torch.float64))
    assert verdict.fails.tolist() == [fails] == (verdict.losses["margin"] >= 0).tolist()
    assert verdict.scores is not None and verdict.scores.item() == pytest.approx(2 / 3)


def test_a_tie_is_a_wrong_pixel() -> None:
    assert SMALL.score(torch.zeros(1, 3, 1, 4), TARGETS).item() == 0


def test_metrics_by_hand() -> None:
    both = torch.cat([outputs(0, 1, 1, 0), outputs(0, 0, 2, 1)])
    metrics = SMALL.metrics(SMALL.tally(both, TARGETS.repeat(2, 1, 1)))
    assert metrics["pixel_accuracy"] == pytest.approx(4 / 6)
    assert metrics["mean_accuracy"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert [metrics[f"iou {name}"] for name in range(3)] == pytest.approx([2 / 3, 1 / 3, 1 / 2])
    assert metrics["miou"] == pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3)


def test_a_class_that_nothing_holds_is_in_no_mean() -> None:
    targets = torch.tensor([[[0, 1, 1, 255]]])
    metrics = SMALL.metrics(SMALL.tally(outputs(0, 1, 1, 2), targets))
    assert metrics["miou"] == 1 and "iou 2" not in metrics


@pytest.mark.parametrize("ignored", [0, 2])
def test_a_class_that_is_ignored_is_in_no_mean(ignored: int) -> None:
    from torchmetrics.classification import MulticlassJaccardIndex

    problem, draws = Segmentation(3, (8, 8), ignore=ignored), torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(6, 3, 8, 8, generator=draws), torch.randint(3, (6, 8, 8), generator=draws)
    wanted = MulticlassJaccardIndex(3, ignore_index=ignored)(outputs.argmax(1), targets)
    assert problem.metrics(problem.tally(outputs, targets))["miou"] == pytest.approx(float(wanted))


def test_miou_agrees_with_torchmetrics() -> None:
    reference = pytest.importorskip("torchmetrics.classification").MulticlassJaccardIndex
    generator = torch.Generator().manual_seed(0)
    problem = Segmentation(4, (6, 6))
    for _ in range(100):
        targets = torch.randint(4, (3, 6, 6), generator=generator)
        targets[torch.rand(targets.shape, generator=generator) < 0.1] = 255
        answers = torch.randn(3, 4, 6, 6, generator=generator)
        found = problem.metrics(problem.tally(answers, targets))["miou"]
        assert found == pytest.approx(float(reference(4, ignore_index=255)(answers.argmax(1), targets)), abs=1e-6)


def test_labels_show_the_largest_classes_and_the_iou() -> None:
    assert SMALL.label(torch.tensor([[[1, 1, 0, 255]]])) == ["1 67 %, 0 33 %"]
    assert SMALL.label(torch.tensor([[[0, 1, 2, 1]]]), TARGETS) == ["IoU 1.00"]


@pytest.mark.parametrize(
    ("problem", "targets", "why"),
    [
        (SMALL, torch.zeros(2, 4, dtype=torch.int64), "takes maps of classes"),
        (SMALL, torch.zeros(2, 1, 4), "int64"),
        (SMALL, torch.full((2, 1, 4), 3), "hold class 3: number the 3 classes from 0, and write 255"),
        (SMALL, torch.full((2, 1, 4), 255), "2 samples have no pixel that counts"),
        (Segmentation(1, (1, 4)), torch.zeros(2, 1, 4, dtype=torch.int64), "2 to 21845 classes"),
        (Segmentation(3, (1, 4), names=("a",)), torch.zeros(2, 1, 4, dtype=torch.int64), "name each class"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(problem: Segmentation, targets: torch.Tensor, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        problem.check_targets(targets)


@pytest.mark.parametrize("thresholds", [(1.0,), (-0.1,), (0.5, 0.5)])
def test_thresholds_that_cannot_be_meant_are_refused(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="give different shares of the untouched score"):
        maps(20, thresholds)


def close_to_exact(preset: object, scenario: str, unbounded: bool, least: Callable[[int, float], float]) -> None:
    """Within 2 % at every threshold, for four samples."""
    task = maps(40, unbounded=unbounded)
    batch = task.splits["test"].take(range(4))
    objective = TaskObjective(Pixelwise(), task, batch.targets, torch.ones(4, 2, dtype=torch.bool), {})

    def search(objective: TaskObjective, **watched: object):  # type: ignore[no-untyped-def]
        arguments = (preset, objective, batch.inputs, task.bounds(batch), [parse(scenario)])
        return search_all(*arguments, samples=batch.samples, limit=1e6, **watched)  # type: ignore[arg-type]

    found = searched(search, objective, objective, batch.inputs, [0.9, 0.5, 0.1])
    for result in (each for each in chain.from_iterable(found) if str(each.scenario) == scenario):
        assert result.threshold is not None
        for row in range(4):
            assert float(result.found.strength[row]) * 0.1 == pytest.approx(least(row, result.threshold), rel=0.02)


def four() -> tuple[Tensor, Tensor]:
    """The inputs (4, 4, H, W), colours and depth, and the targets of the samples."""
    batch = maps(40).splits["test"].take(range(4))
    return torch.cat([batch.inputs["rgb"], batch.inputs["depth"]], 1), batch.targets


@pytest.mark.parametrize("preset", [FAST, STANDARD])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize(("name", "channels"), [("rgb", slice(0, 3)), ("depth", slice(3, 4))])
def test_critical_strengths_of_a_linear_model_are_exact(norm: str, preset: object, name: str, channels: slice) -> None:
    x, targets = four()
    close_to_exact(
        preset, f"{name}@{norm}:0.1", True, lambda row, share: exact(x[row], targets[row], norm, share, channels)
    )


@pytest.mark.parametrize("preset", [FAST, STANDARD])
@pytest.mark.parametrize(
    ("scenario", "channels"), [("rgb@linf:0.1", slice(0, 3)), ("depth@linf:0.1 + rgb@linf:0.1", slice(0, 4))]
)
def test_they_are_exact_where_the_range_binds(preset: object, scenario: str, channels: slice) -> None:
    x, targets = four()
    close_to_exact(preset, scenario, False, lambda row, share: exact_in_range(x[row], targets[row], share, channels))


def test_a_lower_threshold_is_never_reached_first() -> None:
    """Law 11, and fronts fall: a larger strength never has the higher score."""
    task = maps(40)
    batch = task.splits["test"].take(range(6))
    objective = TaskObjective(Pixelwise(), task, batch.targets, torch.ones(6, 2, dtype=torch.bool), {})
    scenarios = [parse("rgb@l2:0.5 + depth@linf:0.1")]

    def search(objective: TaskObjective, **watched: object):  # type: ignore[no-untyped-def]
        return search_all(
            FAST, objective, batch.inputs, task.bounds(batch), scenarios, samples=batch.samples, **watched
        )  # type: ignore[arg-type]

    results = list(chain.from_iterable(searched(search, objective, objective, batch.inputs, [0.9, 0.5, 0.1])))
    for scenario in {result.scenario for result in results}:
        high, middle, low = (result.found.strength for result in results if result.scenario == scenario)
        assert bool((high <= middle).all()) and bool((middle <= low).all())
    joint = {result.threshold: result.found.strength for result in results if len(result.scenario.attacked) == 2}
    for result in results:
        assert result.threshold is not None
        assert bool((joint[result.threshold] <= result.found.strength).all()), "a larger scenario is never safer"
        for row in range(6 if result.front is not None else 0):
            assert result.front is not None
            points = result.front.points(row)
            assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(points))
    assert math.isfinite(float(joint[0.9].amax()))


def test_margins_and_losses_have_gradients() -> None:
    task = maps(20)
    batch = task.splits["test"]
    answers = logits(torch.cat([batch.inputs["rgb"], batch.inputs["depth"]], 1)).requires_grad_()
    for name, loss in task.problem.verdict(answers, batch.targets).losses.items():
        (gradient,) = torch.autograd.grad(loss.sum(), answers, retain_graph=True)
        assert bool(gradient.isfinite().all()) and bool(gradient.any()), name
