"""Every model that counts: an attack on image and question reaches it, boxes count as a set, and
each trains by its recipe.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from attacks.errors import BadInput
from attacks.scenario import parse
from attacks.search import search
from harness.engine.loading import build_model
from harness.engine.objective import TaskObjective
from harness.models.counting.movie import Bottleneck, Movie
from harness.models.counting.regions import BOXES, Redetected
from harness.models.fused import Fused
from harness.reproduce.cost import cost
from harness.tasks import Batch, SoftCounting, Task
from harness.tasks.datasets import bccd, counting, howmany_qa, tallyqa
from harness.tasks.datasets.blobs import blobs
from harness.tasks.files.dataroot import VARIABLE
from harness.tasks.problems import counts
from harness.training.train import Training, fit, recipe_of
from tests import picturefiles
from tests.harness.registered import names_in

FOLDER = "harness.models.counting"
OWN = names_in(FOLDER, "recipe")
MODELS = [*names_in(FOLDER), "mutan?attention=false"]
TRAINED = [(name, name if name in OWN else "scheduled") for name in MODELS] + [("movie", "counting")]
COUNTS_ONLY = ("irlc", "softcount")


@pytest.fixture(scope="module")
def task() -> Iterator[Task]:
    """Few scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "SIZES", {"train": 96, "val": 32, "test": 32})
        yield counting.counting()


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, task: Task) -> Fused:
    torch.manual_seed(0)
    module = build_model(request.param, task).eval()
    assert isinstance(module, Fused)
    return module


def built(name: str, task: Task) -> Fused:
    torch.manual_seed(0)
    module = build_model(name, task).eval()
    assert isinstance(module, Fused)
    return module


def test_everything_it_reads_can_be_attacked_and_boxes_stay(model: Fused, task: Task) -> None:
    batch = task.splits["test"].take(range(8))
    inputs = {name: batch.inputs[name].clone().requires_grad_(name != BOXES) for name in model.encoded}
    loss = task.problem.loss(model({**batch.inputs, **inputs}, None), batch.targets).sum()
    moved = [x for name, x in inputs.items() if name != BOXES]
    assert all(
        bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in torch.autograd.grad(loss, moved)
    )


def test_nothing_from_what_is_missing(model: Fused, task: Task) -> None:
    rows, others = (task.splits["train"].take(range(start, start + 8)).inputs for start in (0, 8))
    without_image = {**others, "question": rows["question"]}
    for column, changed in enumerate((without_image, {**rows, "question": others["question"]})):
        present = torch.ones(8, 2, dtype=torch.bool)
        present[:, column] = False
        assert torch.equal(model(rows, present), model(changed, present))
    assert bool(model(rows, torch.zeros(8, 2, dtype=torch.bool)).isfinite().all())


def test_halves_are_the_whole(model: Fused, task: Task) -> None:
    inputs = task.splits["train"].take(range(8)).inputs
    present = torch.rand(8, 2, generator=torch.Generator().manual_seed(0)) < 0.7
    features = {name: model.encode(name, inputs[name]) for name in model.encoded}
    assert torch.equal(model.fuse(features, present), model(inputs, present))


def of_regions(name: str, task: Task) -> Fused:
    """A model that reads boxes; a test of another one is skipped."""
    module = built(name, task)
    return module if BOXES in module.encoded else pytest.skip("reads no boxes")


@pytest.mark.parametrize("name", MODELS)
def test_boxes_are_a_set_and_filling_is_none(name: str, task: Task) -> None:
    module, inputs = of_regions(name, task), task.splits["test"].take(range(8)).inputs
    boxes = inputs[BOXES]
    answer = module(inputs)
    order = torch.randperm(boxes.shape[1], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module({**inputs, BOXES: boxes[:, order]}), answer, rtol=1e-4, atol=1e-4)
    filled = torch.cat([boxes, torch.zeros(8, 3, 5)], 1)
    torch.testing.assert_close(module({**inputs, BOXES: filled}), answer, rtol=1e-4, atol=1e-4)
    assert bool(module({**inputs, BOXES: torch.zeros_like(boxes)}).isfinite().all())


@pytest.mark.parametrize(("name", "recipe"), TRAINED)
def test_it_learns(name: str, recipe: str, task: Task) -> None:
    training = Training("counting", name, recipe, epochs=1)
    before = built(name, task).state_dict()
    module, score = fit(
        training, task, recipe_of(f"{recipe}?learning_rate=0.001"), torch.device("cpu"), Console(file=io.StringIO())
    )
    assert 0 <= score <= 1
    moved = [key for key, weight in module.state_dict().items() if not torch.equal(weight, before[key])]
    assert len(moved) > len(before) / 2


@pytest.mark.parametrize("name", ["movie", "irlc", "rcn"])
def test_its_critical_strengths_are_found(name: str, task: Task) -> None:
    module, batch = built(name, task), task.splits["test"].take(range(4))
    with torch.no_grad():
        said = task.problem.predictions(module(batch.inputs))
    objective = TaskObjective(module, task, said, torch.ones(4, 2, dtype=torch.bool), {})
    found = search(objective, batch.inputs, task.bounds(batch), parse("image@linf:8"), limit=64.0)
    assert bool((found.strength > 0).all()) and bool(found.strength.isfinite().any())


@pytest.mark.parametrize("name", MODELS)
def test_its_cost_is_measured(name: str, task: Task) -> None:
    spent = cost(built(name, task), task, torch.device("cpu"))
    assert spent.parameters > 10_000 and spent.flops > 1e5


def test_movie_takes_fewer_operations_than_rcn(task: Task) -> None:
    movie, rcn = (cost(built(name, task), task, torch.device("cpu")) for name in ("movie", "rcn"))
    assert movie.flops < rcn.flops


@pytest.mark.parametrize("name", MODELS)
def test_proposals_move_with_the_pixels_where_a_detector_is_known(
    name: str, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_regions(name, task)
    with pytest.raises(BadInput, match="no detector"):
        build_model(f"{name}?proposals=recomputed", task)
    picturefiles.blood(tmp_path / "bccd")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    cells = bccd.bccd()
    torch.manual_seed(0)
    module = build_model(f"{name}?proposals=recomputed", cells).eval()
    assert isinstance(module, Redetected)
    inputs = cells.splits["test"].take(range(2)).inputs
    torch.testing.assert_close(module(inputs), module.model(inputs))
    moved = {**inputs, "image": inputs["image"].roll(9, 3)}
    boxes = torch.tensor(blobs(moved["image"][0].numpy()))
    assert torch.equal(module.detected(moved)[BOXES][0], boxes) and not torch.equal(boxes, inputs[BOXES][0])
    with pytest.raises(BadInput, match="did you mean recomputed"):
        build_model(f"{name}?proposals=recompute", cells)


def test_what_does_not_fit_is_refused(task: Task, digits: Task) -> None:
    cells = Task(
        "cells", task.modalities, task.problem, {name: _without_boxes(batch) for name, batch in task.splits.items()}
    )
    for name in [each for each in MODELS if BOXES in built(each, task).encoded]:
        with pytest.raises(BadInput, match="no object proposals"):
            build_model(name, cells)
    for name in COUNTS_ONLY:
        with pytest.raises(BadInput, match=r"this model answers counts only.* take model movie or updown"):
            build_model(name, digits)
    plain = Task.from_arrays({"a": torch.rand(30, 4), "b": torch.rand(30, 4)}, torch.arange(30) % 2)
    for name in MODELS:
        with pytest.raises(BadInput, match="counts only" if name in COUNTS_ONLY else "one question about one image"):
            build_model(name, plain)
    for recipe, wrong in {"irlc": "movie", "movie-vqa": "movie"}.items():
        with pytest.raises(BadInput, match=f"recipe '{recipe}'"):
            recipe_of(recipe).setup(build_model(wrong, task), task, 1)
    with pytest.raises(BadInput, match="takes a real-valued count"):
        recipe_of("softcount").setup(build_model("movie", task), task, 1)


def _without_boxes(batch: Batch) -> Batch:
    return replace(batch, inputs={name: x for name, x in batch.inputs.items() if name != BOXES})


@pytest.mark.parametrize("name", ["movie", "mutan"])
def test_votes_and_grids_of_features_will_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picturefiles.WRITERS["howmany-qa"](tmp_path / "howmany-qa")
    picturefiles.tally(tmp_path / "tallyqa", grids=True)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    votes, grids = howmany_qa.howmany_qa(), tallyqa.tallyqa()
    assert isinstance(votes.problem, SoftCounting) and grids.modalities[0].kind == "features"
    for published in (votes, grids):
        fit(
            Training(published.name, name, epochs=1),
            published,
            recipe_of("scheduled"),
            torch.device("cpu"),
            Console(file=io.StringIO()),
        )


@pytest.mark.parametrize("name", ["irlc", "softcount", "updown", "counter"])
def test_models_of_regions_show_which_boxes_counted(name: str, task: Task) -> None:
    model, batch = built(name, task), task.splits["test"].take(range(16))
    shown = model.explain(batch.inputs, None)[BOXES]
    boxes = batch.inputs[BOXES]
    assert shown.shape == (*boxes.shape[:2], 5) and torch.equal(shown[..., :4], boxes[..., :4])
    assert bool((shown[..., 4] >= 0).all()) and not bool(shown[..., 4][boxes[..., 2] <= boxes[..., 0]].any())
    counted, answers = shown[..., 4], model(batch.inputs, None)
    if name == "irlc":
        assert torch.equal((counted > 0).sum(1), answers.argmax(1))
        for row in counted:
            steps = sorted((1 / row[row > 0]).round().int().tolist())
            assert steps == list(range(1, len(steps) + 1))
    elif name == "softcount":
        torch.testing.assert_close(counts.count_of(answers), counted.sum(1), rtol=1e-3, atol=1e-3)
    elif name == "updown":
        assert bool((counted.sum(1) < 1 + 1e-5).all()), "what fills up the regions takes its share"


@pytest.mark.parametrize("name", ["movie", "movie-vqa", "mutan"])
def test_models_of_the_grid_show_a_map_that_the_question_moves(name: str, task: Task) -> None:
    model, batch = built(name, task), task.splits["test"].take(range(4))
    shown = model.explain(batch.inputs, None)["image"]
    assert shown.shape == (4, 16, 16) and bool((shown >= 0).all())
    other = {**batch.inputs, "question": batch.inputs["question"].flip(0)}
    assert not torch.equal(model.explain(other, None)["image"], shown)


@pytest.mark.parametrize("name", ["rcn", "mutan?attention=false", "question-blind", "image-blind"])
def test_models_without_attributions_explain_nothing(name: str, task: Task) -> None:
    assert built(name, task).explain(task.splits["test"].take(range(4)).inputs, None) == {}


def test_without_a_question_nothing_is_modulated(task: Task) -> None:
    """Zero maps of the question leave the grid as it was: the map is 0 everywhere."""
    model, batch = built("movie", task), task.splits["test"].take(range(2))
    assert isinstance(model.fusion, Movie)
    for bottleneck in model.fusion.counter.bottlenecks:
        assert isinstance(bottleneck, Bottleneck)
        nn.init.zeros_(bottleneck.gamma.weight)
        nn.init.zeros_(bottleneck.gamma.bias)
    assert not bool(model.explain(batch.inputs, None)["image"].any())
