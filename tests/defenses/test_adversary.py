"""The attack in training: it stays inside the balls, touches nothing else, and leaves no trace."""

import pytest
import torch

from attacks.region import Region
from attacks.scenario import Scenario
from defenses.adversary import Adversary, TrainingObjective, encoded
from defenses.latent_ensemble import latent_ensemble
from harness.models import checkpoint
from harness.models.fusion.concat import concat
from tests.tiny import tiny

NAMES = ("a", "b", "c")


@pytest.mark.parametrize("names", [["a"], ["b"], ["c"], ["a", "c"], ["a", "b", "c"]])
@pytest.mark.parametrize("adversary", [Adversary(), Adversary(1, random_start=True)])
def test_it_raises_the_loss_inside_the_balls(names: list[str], adversary: Adversary) -> None:
    task = tiny()
    model, batch = concat(task), task.splits["val"]
    before = {name: x.clone() for name, x in batch.inputs.items()}
    moved = adversary(model, task, batch, names)
    assert sorted(moved) == names
    assert all(torch.equal(x, before[name]) for name, x in batch.inputs.items())
    balls = tuple(ball for scenario in task.scenarios()[:3] for ball in scenario.attacked if ball.modality in names)
    assert bool((Region.of(batch.inputs, task.bounds(batch), Scenario(balls)).gauge(moved) <= 1 + 1e-6).all())
    model.eval()
    objective = TrainingObjective(model, task.problem, batch.targets, {})
    clean, attacked = (objective(inputs).losses["loss"].mean() for inputs in (batch.inputs, {**batch.inputs, **moved}))
    assert attacked > clean


def test_it_leaves_no_trace() -> None:
    task = tiny()
    model, state = latent_ensemble(task).train(), torch.get_rng_state()
    before = checkpoint.weight_hash(model)
    Adversary()(model, task, task.splits["val"], NAMES)
    assert checkpoint.weight_hash(model) == before
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_shared_inputs_are_encoded_once() -> None:
    task = tiny()
    model, batch = concat(task).eval(), task.splits["val"]
    variant = {**batch.inputs, "a": batch.inputs["a"] + 1}
    clean, moved = encoded(model, [batch.inputs, variant])
    assert clean["b"].data_ptr() == moved["b"].data_ptr()
    torch.testing.assert_close(moved["a"], model.encode("a", variant["a"]))
