"""Law 8: a planted adversarial example is found (a binarisation test, Zimmermann et al., NeurIPS
2022).

The readout of a trained model is replaced by a linear one on its features that calls the clean
input and random points of the ball right, and one stated point inside the ball wrong; gradients
lead there.
"""

import pytest
import torch
from torch import Tensor, nn

from attacks.objective import Classification
from attacks.region import Inputs, Region
from attacks.sampling import unit_changes
from attacks.search import search
from harness.engine.loading import load_model
from harness.references.registry import resolve
from harness.tasks import Task

AROUND = 32


def planted(features: nn.Module, region: Region, task: Task, seed: int) -> tuple[nn.Linear, float]:
    """A two-class readout of the features, and the strength at which the planted point lies."""
    names = [f"{seed} {number}" for number in range(AROUND)]
    many = region.take(torch.zeros(AROUND, dtype=torch.int64))
    changes = unit_changes(many.scenario, many.clean, names, seed, "planted")
    edge = {ball.modality: ball.radius * changes[ball.modality].sign() for ball in region.scenario.attacked}
    inner = many.project(
        {name: x + 0.5 * edge[name] for name, x in many.clean.items()}, torch.full((AROUND,), 0.5, dtype=torch.float64)
    )
    point = {name: (x + edge[name])[:1] for name, x in many.clean.items()}
    point = region.project(point, torch.ones(1, dtype=torch.float64))
    with torch.no_grad():
        inside = features(many.complete(inner))
        bad = features(region.complete(point))
        clean = features(region.inputs)
    away = bad - torch.cat([clean, inside]).mean(0, keepdim=True)
    heights = torch.cat([clean, inside]) @ away.T
    readout = nn.Linear(away.shape[1], 2)
    with torch.no_grad():
        threshold = heights.max() + 0.9 * (bad @ away.T - heights.max()).squeeze()
        readout.weight.copy_(torch.cat([torch.zeros_like(away), away]))
        readout.bias.copy_(torch.stack([threshold, torch.zeros(())]))
        assert float(bad @ away.T) > float(threshold) > float(heights.max())
    return readout.requires_grad_(False), float(region.gauge(point))


@pytest.mark.parametrize("name", ["fast", "standard"])
@pytest.mark.parametrize("scenario", ["image@linf:1.6", "image@linf:1.6 + text@linf:0.1"])
def test_a_planted_example_is_found(digits: Task, name: str, scenario: str) -> None:
    model = load_model("concat", digits, torch.device("cpu")).module.requires_grad_(False)
    hidden: list[Tensor] = []
    last = [layer for layer in model.fusion.modules() if isinstance(layer, nn.Linear)][-1]
    handle = last.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))

    def features(inputs: Inputs) -> Tensor:
        hidden.clear()
        model(inputs, None)
        return hidden[0]

    for row in range(6):
        batch = digits.splits["test"].take([row])
        region = Region.of(batch.inputs, digits.bounds(batch), scenario)
        readout, strength = planted(features, region, digits, row)
        objective = Classification(
            lambda inputs, readout=readout: readout(features(inputs)), torch.zeros(1, dtype=torch.int64)
        )
        assert not bool(objective(batch.inputs).fails.any())
        found = search(
            objective, batch.inputs, digits.bounds(batch), scenario, algorithm=resolve("search", name).target
        )
        assert 0 < float(found.strength) <= strength * 1.0001, row
    handle.remove()
