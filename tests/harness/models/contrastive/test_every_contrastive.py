"""Recipes and models of contrastive learning: the parameters that move, those that stay, and labels
only in the second stage.
"""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from attacks.errors import BadInput
from harness.engine.loading import build_model
from harness.models.contrastive.byol import BYOL, follow, risen
from harness.models.contrastive.infonce import InfoNCE, infonce
from harness.models.contrastive.neighbours import agreed, recall, spread, voted
from harness.models.contrastive.pretraining import PROBE, Pretraining, Probing, warmed
from harness.models.contrastive.probed import Probe
from harness.models.contrastive.simclr import SimCLR
from harness.models.fused import Fused
from harness.models.fusion.concat import concat
from harness.references.registry import MODALITY, resolve
from harness.tasks import Task
from harness.training.train import Training, fit
from tests.harness.registered import names_in
from tests.tiny import tiny

CPU = torch.device("cpu")
FOLDER = "harness.models.contrastive"
MODELS = [name.replace(MODALITY, "a") for name in names_in(FOLDER)]
RECIPES = {name: resolve("recipe", name).target for name in names_in(FOLDER, "recipe")}
WAYS = {
    name: (recipe, next(model for model in MODELS if model.startswith(name)))
    for name, recipe in RECIPES.items()
    if issubclass(recipe, Pretraining)
}


@pytest.fixture(scope="module")
def task() -> Task:
    return tiny(2)


def built(name: str, task: Task) -> Fused:
    torch.manual_seed(0)
    module = build_model(WAYS[name][1], task)
    assert isinstance(module, Fused)
    return module


@pytest.mark.parametrize("name", WAYS)
def test_pretraining_beats_a_random_encoder(name: str, task: Task) -> None:
    way, model = WAYS[name]
    quiet = Console(file=io.StringIO())
    _, random = fit(Training("tiny", model, epochs=1), task, Probing(), CPU, quiet)
    trained, score = fit(Training("tiny", model, epochs=6), task, way(batch_size=64), CPU, quiet)
    assert score >= max(random, 0.9)
    assert not trained.training


@pytest.mark.parametrize("name", WAYS)
def test_the_first_stage_sees_no_label_and_the_second_moves_no_encoder(name: str, task: Task) -> None:
    recipe: Pretraining = WAYS[name][0](batch_size=32)
    model = built(name, task)
    first, second = recipe.setup(model, task, 2)
    batch = task.splits["train"].take(range(32))
    torch.manual_seed(1)
    loss = recipe.step(batch, first)
    torch.manual_seed(1)
    model_again = built(name, task)
    again: Pretraining = WAYS[name][0](batch_size=32)
    again.setup(model_again, task, 2)
    torch.manual_seed(1)
    other = replace(batch, targets=(batch.targets + 1) % 3)
    assert again.step(other, again.first).item() == loss.item()
    loss.backward()
    probe = model.fusion
    assert isinstance(probe, Probe)
    assert probe.linear.weight.grad is None
    model.zero_grad()
    recipe.step(batch, second).backward()
    assert probe.linear.weight.grad is not None
    assert all(parameter.grad is None for parameter in model.encoders.parameters())
    assert second.name == PROBE


def test_fine_tuning_moves_the_encoder(task: Task) -> None:
    recipe, model = SimCLR(tuned=True), built("simclr", task)
    _, second = recipe.setup(model, task, 1)
    recipe.step(task.splits["train"].take(range(8)), second).backward()
    assert all(parameter.grad is not None for parameter in model.encoders.parameters())


def test_a_sample_left_over_teaches_nothing(task: Task) -> None:
    for name, (way, _) in WAYS.items():
        recipe, model = way(batch_size=32), built(name, task)
        first, _ = recipe.setup(model, task, 1)
        loss = recipe.step(task.splits["train"].take([0]), first)
        loss.backward()
        assert loss.item() == 0
        assert all(bool((p.grad == 0).all()) for p in model.encoders.parameters())


def test_the_target_starts_as_a_copy_hears_no_gradient_and_follows(task: Task) -> None:
    recipe, model = BYOL(batch_size=32), built("byol", task)
    first, _ = recipe.setup(model, task, 2)
    assert all(torch.equal(a, b) for a, b in zip(recipe.target.parameters(), recipe.online.parameters(), strict=True))
    recipe.step(task.splits["train"].take(range(32)), first).backward()
    assert all(parameter.grad is None for parameter in recipe.target.parameters())
    assert all(parameter.grad is not None for parameter in recipe.online.parameters())
    before = [parameter.clone() for parameter in recipe.target.parameters()]
    first.optimizer.step()
    follow(recipe.target, recipe.online, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(recipe.target.parameters(), before, strict=True)), "τ = 1 freezes"
    buffers = [buffer.clone() for buffer in recipe.target.buffers()]
    follow(recipe.target, recipe.online, 0.0)
    assert all(
        torch.equal(a, b) for a, b in zip(recipe.target.parameters(), recipe.online.parameters(), strict=True)
    ), "τ = 0 copies"
    assert all(torch.equal(a, b) for a, b in zip(recipe.target.buffers(), buffers, strict=True)), (
        "statistics are not averaged"
    )


def test_momentum_rises() -> None:
    assert [risen(0.996, progress) for progress in (0, 0.5, 1)] == pytest.approx([0.996, 0.998, 1])


def test_byol_without_stop_gradient_or_momentum(task: Task) -> None:
    plain = BYOL(batch_size=32, follows=False, stops=False, predicts=False)
    model = built("byol", task)
    first, _ = plain.setup(model, task, 1)
    assert plain.target is plain.online
    assert isinstance(plain.predictor, torch.nn.Identity)
    before = [parameter.clone() for parameter in plain.online.parameters()]
    loss = plain.step(task.splits["train"].take(range(32)), first)
    assert 0 <= loss.item() <= 8
    first.optimizer.step()  # without gradients, so nothing moves
    plain.after_step(first)
    assert all(torch.equal(a, b) for a, b in zip(plain.online.parameters(), before, strict=True))


def test_both_views_are_encoded_in_one_pass(task: Task) -> None:
    recipe, model = SimCLR(batch_size=32), built("simclr", task)
    first, _ = recipe.setup(model, task, 1)
    seen: list[int] = []
    model.encoders["a"].register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    recipe.step(task.splits["train"].take(range(32)), first)
    assert seen == [64]


def test_what_does_not_fit_is_refused(task: Task) -> None:
    with pytest.raises(BadInput, match="under a linear probe"):
        SimCLR().setup(concat(task), task, 1)
    with pytest.raises(BadInput, match="reads 'a' only"):
        InfoNCE().setup(built("simclr", task), task, 1)
    for name in ("byol", "infonce"):
        with pytest.raises(BadInput, match="one encoder and its projector"):
            SimCLR().setup(built(name, task), task, 1)
    with pytest.raises(BadInput, match="trains a predictor"):
        BYOL().setup(built("simclr", task), task, 1)
    with pytest.raises(BadInput, match="needs two"):
        infonce(tiny(1))


def test_the_learning_rate_warms_up_and_falls() -> None:
    assert warmed(0) < 0.02 < warmed(0.05) < warmed(0.1) == 1
    assert warmed(0.55) == pytest.approx(0.5)
    assert warmed(1) == pytest.approx(0)


def test_neighbours_vote() -> None:
    bank = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.0, 2.0]])
    labels = torch.tensor([0, 0, 1, 1, 2])
    assert voted(bank, labels, torch.tensor([[5.0, 0.0], [0.0, 0.1]]), neighbours=2).tolist() == [0, 1]
    assert voted(bank, labels, bank[:1], neighbours=99).tolist() == [0], "of a tie, the least"


def test_partners_are_recalled() -> None:
    one = torch.eye(4)
    assert recall(one, one) == 1
    assert recall(one, one.roll(1, 0)) == 0
    near = torch.tensor([[1.0, 0.2, 0, 0], [1.0, 0.9, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    assert recall(near, one) == 0.75
    assert recall(near, one, among=2) == 1


@pytest.mark.parametrize("name", WAYS)
def test_the_card_has_the_metrics_of_an_embedding_beside_the_probe(name: str, task: Task) -> None:
    recipe = WAYS[name][0](batch_size=64)
    fit(Training("tiny", WAYS[name][1], epochs=4), task, recipe, CPU, Console(file=io.StringIO()))
    with torch.no_grad():
        known = recipe.measured(task.splits["test"])
    assert known["knn"] > 0.6 and known["spread"] > 0 and known["projected_spread"] > 0
    assert ("recall_at_1" in known) == (name == "infonce")
    if name == "infonce":
        assert known["recall_at_1"] <= known["recall_at_5"] <= 1 and known["same_class_at_1"] > 0.5


def test_a_collapsed_embedding_has_no_spread_and_an_isotropic_one_all() -> None:
    torch.manual_seed(0)
    assert spread(torch.ones(50, 8) * torch.rand(50, 1)) < 1e-3
    assert spread(torch.randn(4000, 8)) == pytest.approx(1, abs=0.01)


def test_byol_without_predictor_collapses_where_byol_does_not() -> None:
    """A few steps suffice on a small task; the spread of the projections is measured."""
    task, quiet = tiny(2), Console(file=io.StringIO())
    found = {}
    for predicts in (True, False):
        recipe = BYOL(batch_size=64, predicts=predicts)
        fit(Training("tiny", "byol-a", epochs=20), task, recipe, CPU, quiet)
        with torch.no_grad():
            found[predicts] = recipe.measured(task.splits["test"])["projected_spread"]
    assert found[False] < 0.5 * found[True]


def test_classes_agree_by_chance_or_better() -> None:
    labels = torch.arange(6) % 2
    one = torch.nn.functional.one_hot(labels, 2).float()
    assert agreed(one, one, labels) == 1 and agreed(one, 1 - one, labels) == 0
