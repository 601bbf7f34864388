"""CRMT: orthogonal classifiers, the bound on their margins, and its two stages."""

import io
import math

import pytest
import torch
from rich.console import Console

from attacks.errors import BadInput
from defenses.crmt import Crmt, OrthogonalSum, crmt, lacking
from harness.models.fusion.concat import concat
from harness.tasks import Classification
from harness.training.train import Training, fit
from tests.tiny import tiny


def test_rows_stay_orthonormal() -> None:
    task = tiny()
    model, _ = fit(Training("tiny", "crmt", epochs=2), task, Crmt(), torch.device("cpu"), Console(file=io.StringIO()))
    for classifier in model.fusion.classifiers:  # type: ignore[union-attr]
        weight = classifier.weight.detach()
        torch.testing.assert_close(weight @ weight.T, torch.eye(task.width), rtol=0, atol=1e-5)


def test_outputs_are_the_weighted_sum() -> None:
    fusion = OrthogonalSum(size=6, modalities=2, outputs=3)
    fusion.weights.data = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    features, here = [torch.randn(4, 6), torch.randn(4, 6)], torch.ones(4, 2, dtype=torch.bool)
    torch.testing.assert_close(
        fusion(features, here), features[0] @ fusion.classifiers[0].weight.T * torch.tensor([1.0, 2.0, 3.0])
    )


def test_the_bound_is_as_written() -> None:
    logits = [torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[0.5, 2.0, 0.0]])]
    expected = math.log(sum(each.exp().sum().item() / each[0, 1].exp().item() - 1 for each in logits))
    assert lacking(Classification(3), logits, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-5)


def test_the_second_stage_moves_the_weights_only() -> None:
    task = tiny()
    model, recipe = crmt(task), Crmt()
    _, second = recipe.setup(model, task, None)
    recipe.step(task.splits["train"], second).backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    second.optimizer.step()
    assert [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])] == [
        "fusion.weights"
    ]


def test_other_models_and_regressions_are_refused() -> None:
    with pytest.raises(BadInput, match="which this model lacks"):
        Crmt().setup(concat(tiny()), tiny(), None)
    task, recipe = tiny(regression=True), Crmt()
    stage, _ = recipe.setup(crmt(task), task, None)
    with pytest.raises(BadInput, match="regression"):
        recipe.step(task.splits["train"], stage)
