"""torchattacks through the bridge: right units, right samples, no trace, and nothing counts
unverified.
"""

from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.fixed_budget import NONE, FixedBudget, InTurn, fixed_attack
from attacks.objective import Classification
from attacks.pgd import pgd
from attacks.region import Bounds, Inputs, Range, Region
from attacks.scenario import parse
from attacks.search import search
from attacks.search_state import Found
from attacks.torchattacks_bridge import Bridge
from attacks.unit_image import UnitImage
from attacks.verify import verify
from benchmarks.oracles.linear import random_linear

SAMPLES = 8
RADIUS = 6 * 8 / 255  # in raw units of a range of width 6
LINF: dict[str, dict[str, Any]] = {
    "FGSM": {},
    "PGD": {},
    "APGD": {},
    "Square": {"n_queries": 100},
    "DeepFool": {},
    "CW": {},
    "FAB": {},
    "APGDT": {},
    "BIM": {},
    "MIFGSM": {},
    "TPGD": {"steps": 5},
    "Jitter": {},
    "SINIFGSM": {},
    "DIFGSM": {},
    "PGDRS": {"noise_sd": 0.01},
    "SparseFool": {"steps": 2},
}
MAY_FIND_NOTHING = ("DIFGSM", "SparseFool")  # their sizes are mean squares, not balls
L2: dict[str, dict[str, Any]] = {
    "PGDL2": {},
    "APGD": {},
    "CW": {},
    "DeepFool": {},
    "Square": {"n_queries": 50},
    "FAB": {},
}


def network(classes: int = 5) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(36 + 8, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.ReLU(), nn.Linear(32, classes)
    ).eval()


def problem(classes: int = 5, net: nn.Module | None = None) -> tuple[Classification, Inputs, Bounds]:
    """An image of 6 × 6 in [-3, 3], and a context that differs so much by sample that another's
    changes the answer.
    """
    net = net or network(classes)
    generator = torch.Generator().manual_seed(1)
    inputs = {
        "image": torch.rand(SAMPLES, 6, 6, generator=generator) * 6 - 3,
        "context": 3 * torch.randn(SAMPLES, 8, generator=generator),
    }

    def forward(x: Inputs) -> Tensor:
        answer: Tensor = net(torch.cat([x["image"].flatten(1), x["context"]], 1))
        return answer - 50  # all logits negative

    return Classification(forward, forward(inputs).argmax(1)), inputs, {"image": Range(-3.0, 3.0)}


def found_by(
    name: str, options: dict[str, Any], scenario: str, problem: tuple[Classification, Inputs, Bounds]
) -> Found:
    objective, inputs, bounds = problem
    attack = FixedBudget(f"torchattacks:{name}", fixed_attack(getattr(torchattacks, name)), options)
    return search(objective, inputs, bounds, scenario, algorithm=InTurn((NONE, attack)))


@pytest.mark.parametrize(
    ("name", "options", "scenario"),
    [(name, options, f"image@linf:{RADIUS}") for name, options in LINF.items()]
    + [(name, options, "image@l2:1") for name, options in L2.items()]
    + [("AutoAttack", {}, "image@linf:1")]
    + [
        (name, {}, f"context@linf:{2 * RADIUS} + image@linf:{RADIUS}")
        for name in ("FGSM", "PGD", "APGD", "APGDT", "FAB")
    ],
)
def test_what_it_finds_verifies(name: str, options: dict[str, Any], scenario: str) -> None:
    objective, inputs, bounds = whole = problem()
    found = found_by(name, options, scenario, whole)
    met = found.strength.isfinite().nonzero().squeeze(1)
    assert len(met) or name in MAY_FIND_NOTHING
    assert bool((found.strength[met] <= 1).all())
    assert {found.finder[row] for row in met.tolist()} <= {f"torchattacks:{name}", "witness of image@linf:16/85"}
    good = verify(objective, inputs, found.witness, bounds, parse(scenario), found.strength.clamp(max=1.0))
    assert bool(good[met].all())
    moved = found.witness["image"] - inputs["image"]
    assert float(moved.abs().max()) <= (RADIUS if str(RADIUS) in scenario else 1) * (1 + 1e-6)


@pytest.mark.parametrize("name", ["FGSM", "PGD", "Square", "DeepFool", "PGDRS", "AutoAttack"])
def test_a_sample_keeps_its_context_and_its_randomness(name: str) -> None:
    """The same alone, in another order, and with others: rows are never mixed up."""
    objective, inputs, bounds = problem()
    region, names = Region.of(inputs, bounds, "image@linf:0.5"), [f"s{row}" for row in range(SAMPLES)]
    options = {"version": "rand"} if name == "AutoAttack" else {"n_queries": 30} if name == "Square" else {}
    bridge = Bridge(getattr(torchattacks, name))
    whole = bridge(objective, region, 1.0, samples=names, **options)
    for rows in ([5, 2, 7], [0]):
        index = torch.tensor(rows)
        part = bridge(objective.take(index), region.take(index), 1.0, samples=[names[row] for row in rows], **options)
        torch.testing.assert_close(part.inputs["image"], whole.inputs["image"][index], rtol=0, atol=1e-5)
        assert part.gradients.tolist() == whole.gradients[index].tolist()


def test_raw_units_and_ranges_per_feature() -> None:
    """One radius for all features, whatever the width of each range; padding stays; nothing leaves
    its range.
    """
    low, high = torch.tensor([-3.0, 0.0, 0.5, 7.0]), torch.tensor([3.0, 0.2, 0.5, 9.0])
    x = torch.tensor([[2.9, 0.15, 0.5, 8.0], [0.0, 0.1, 0.5, 7.05]])
    weight = torch.tensor([[1.0, 1.0, 1.0, -1.0]])
    objective = Classification(
        lambda i: torch.cat([i["x"] @ -weight.T, i["x"] @ weight.T], 1), torch.zeros(2, dtype=torch.int64)
    )
    region = Region.of({"x": x}, {"x": Range(low, high)}, "x@linf:0.12")
    moved = Bridge(torchattacks.PGD)(objective, region, 1.0).inputs["x"] - x
    torch.testing.assert_close(
        moved, torch.tensor([[0.1, 0.05, 0.0, -0.12], [0.12, 0.1, 0.0, -0.05]]), rtol=0, atol=2e-6
    )


def test_the_chart_is_exact_where_nothing_moves() -> None:
    _, inputs, bounds = problem()
    for scenario in ("image@linf:0.1", "context@linf:0.1", "image@linf:0.1 + context@linf:0.2"):
        unit_image = UnitImage.of(Region.of(inputs, bounds, scenario).take(torch.tensor([3])), 1.0)
        assert all(torch.equal(x, inputs[name][3:4]) for name, x in unit_image.raw(unit_image.clean).items())


@pytest.mark.parametrize("name", ["CW", "DeepFool", "FAB", "OnePixel", "APGD"])
@pytest.mark.parametrize("crashes", [False, True])
def test_no_trace(name: str, crashes: bool) -> None:
    """The library changes modes, fills `param.grad` and seeds the global state; an exception of the
    model is its own.
    """
    net, calls = network(), 0
    objective, inputs, bounds = problem(net=net)

    def forward(x: Inputs) -> Tensor:
        nonlocal calls
        calls += 1
        if crashes and calls > 3:
            raise RuntimeError("the model broke")
        return objective.forward(x)

    net[0].train()
    net[4].weight.grad = torch.full_like(net[4].weight, 7.0)
    net[0].weight.requires_grad_(False)
    modes, values = [m.training for m in net.modules()], [v.clone() for v in net.state_dict().values()]
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    region = Region.of(inputs, bounds, "image@linf:0.2")
    attack = Bridge(getattr(torchattacks, name))
    if crashes:
        with pytest.raises(RuntimeError, match="the model broke"):
            attack(Classification(forward, objective.labels), region, 1.0)
    else:
        attack(Classification(forward, objective.labels), region, 1.0)
    assert calls > 3
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(values, net.state_dict().values(), strict=True))
    assert torch.equal(net[4].weight.grad, torch.full_like(net[4].weight, 7.0))
    assert [p.grad is None for p in net.parameters()].count(False) == 1 and not net[0].weight.requires_grad
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert bool((states[1] == np.random.get_state()[1]).all())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["APGDT", "AutoAttack"])
def test_too_few_classes_are_refused(name: str, classes: int) -> None:
    with pytest.raises(BadInput, match=f"{name} needs 4 classes or more for its loss, but the model has {classes}"):
        found_by(name, {}, "image@linf:0.1", problem(classes))


@pytest.mark.parametrize("name", ["FGSM", "PGD", "APGD", "Square", "DeepFool", "CW", "FAB"])
def test_two_classes_are_enough_for_the_rest(name: str) -> None:
    found = found_by(name, {"n_queries": 100} if name == "Square" else {}, "image@linf:0.6", problem(2))
    assert bool(found.strength.isfinite().any())


REFUSED = {
    ("PGD", "context@l2:1"): "PGD keeps to linf, not to context@l2:1",
    ("PGDL2", "context@l2:1"): "outside linf it takes one modality with a finite range",
    ("APGD", "image@l2:1 + context@l2:1"): "outside linf it takes one modality",
    ("APGD", "image@linf:1 + context@l2:1"): "outside linf it takes one modality",
    ("FAB", "image@l1:1"): "FAB keeps to linf or l2",
    ("TIFGSM", "image@linf:1"): "TIFGSM fails on an input of shape",
    ("DIFGSM", "context@linf:1"): "it needs square images",
    ("MultiAttack", "image@linf:1"): "MultiAttack needs attacks",
}


@pytest.mark.parametrize(("name", "scenario"), REFUSED)
def test_what_it_cannot_attack_is_refused_before_work_begins(name: str, scenario: str) -> None:
    _, inputs, bounds = problem()
    with pytest.raises(BadInput, match=REFUSED[name, scenario]):
        FixedBudget(name, fixed_attack(getattr(torchattacks, name))).check(Region.of(inputs, bounds, scenario), 5)


def test_what_is_no_classifier_is_refused() -> None:
    _, inputs, bounds = problem()
    with pytest.raises(BadInput, match="PGD attacks classifiers"):
        Bridge(torchattacks.PGD).check(Region.of(inputs, bounds, "image@linf:1"), None, {})


@pytest.mark.parametrize("scenario", ["a@linf:0.05", "a@linf:0.02 + b@linf:0.06"])
def test_on_a_linear_model_it_agrees_with_our_pgd(scenario: str) -> None:
    model = random_linear(2, samples=32, bounded=True, seed=2)
    region = Region.of(model.inputs, model.bounds, scenario)
    theirs, ours = (attack(model.objective(), region, 1.0).inputs for attack in (Bridge(torchattacks.PGD), pgd))
    gained = [model.objective()(region.complete(reached)).losses["margin"] for reached in (theirs, ours)]
    clean = model.objective()(model.inputs).losses["margin"]
    torch.testing.assert_close((gained[0] - clean) / (gained[1] - clean), torch.ones(32), rtol=0, atol=1e-3)


def test_alpha_follows_the_radius_or_is_raw() -> None:
    """A step is a quarter of the radius, whatever the radius; a given one is in raw units."""
    model = random_linear(3, bounded=True, seed=4)
    for radius in (0.4, 0.004):
        region = Region.of(model.inputs, model.bounds, f"a@linf:{radius}")
        for options, step in (({}, radius / 4), ({"alpha": radius / 10}, radius / 10)):
            reached = Bridge(torchattacks.BIM)(model.objective(), region, 1.0, steps=1, **options).inputs["a"]
            assert float((reached - model.inputs["a"]).abs().max()) == pytest.approx(step, rel=1e-3)
