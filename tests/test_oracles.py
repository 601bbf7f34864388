"""The oracles that the search is held against: closed forms, general solvers, and all edits one by
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, linprog
from torch import Tensor
from torch.nn import functional as F

from attacks.eot import judged
from attacks.norms import NORMS
from attacks.region import Range, Region
from attacks.scenario import Ball, Scenario, parse
from benchmarks.oracles.linear import Linear, random_linear
from benchmarks.oracles.pieces import Pieces, random_pieces
from benchmarks.oracles.relu import Network, random_network
from benchmarks.oracles.rise import Rise, strength
from benchmarks.oracles.texts import random_texts

VALUES = 6


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slopes_and_box(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Some slopes are zero, some values have no room, and some all of it."""
    weights, low, high = torch.randn(3, 1, VALUES, generator=seeded(seed), dtype=torch.float64)
    weights[0, 0], high[0, 1], low[0, 2], high[0, 3] = 0, 0, -np.inf, np.inf
    return weights, -low.abs(), high.abs()


def largest(norm: str, weights: Tensor, low: Tensor, high: Tensor, radius: float) -> float:
    """max ⟨weights, δ⟩: by linear programming, where δ is its positive part - its negative part; in
    L2 δ = clamp(s · weights).
    """
    w, down, up = (each[0].numpy() for each in (weights, low, high))
    if norm == "l2":
        scale = (
            brentq(lambda s: np.linalg.norm(np.clip(s * w, down, up)) - radius, 0, 1e6, xtol=1e-14) if radius else 0.0
        )
        return float(w @ np.clip(scale * w, down, up))
    most = radius if norm == "linf" else np.inf
    budget = {"A_ub": np.ones((1, 2 * VALUES)), "b_ub": [radius]} if norm == "l1" else {}
    bounds = [(0, min(float(end), most)) for end in (*up, *-down)]
    return -float(linprog(np.concatenate([-w, w]), bounds=bounds, **budget).fun)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(4))
def test_a_rise_is_that_of_a_general_solver(norm: str, seed: int) -> None:
    weights, low, high = slopes_and_box(seed)
    for radius in (0.0, 0.1, 0.7, 2.0, 9.0):
        value, slope = Rise.of(norm, weights, low, high).at(torch.tensor([[radius]], dtype=torch.float64))
        assert float(value) == pytest.approx(largest(norm, weights, low, high, radius), rel=1e-4, abs=1e-4)
        further, _ = Rise.of(norm, weights, low, high).at(torch.tensor([[radius + 1e-6]], dtype=torch.float64))
        assert float(slope) == pytest.approx(float(further - value) / 1e-6, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_a_strength_is_where_enough_has_risen(norm: str) -> None:
    weights, low, high = (
        torch.randn(40, VALUES, generator=seeded(seed), dtype=torch.float64).abs() for seed in range(3)
    )
    rises = [(Rise.of(norm, weights, -low, high), 0.3), (Rise.of("l2", low, -high, weights), 0.2)]
    needed = torch.linspace(-1, 20, 80, dtype=torch.float64).view(40, 2)
    t = strength(rises, needed)
    risen = sum(rise.at(t * radius)[0] for rise, radius in rises)
    most = (weights * high).sum(1) + (low * weights).sum(1)
    torch.testing.assert_close(risen[t.isfinite()], needed.clamp_min(0)[t.isfinite()], rtol=1e-9, atol=1e-12)
    assert torch.equal(t.isinf(), needed > most[:, None]) and bool(t.isinf().any())


def test_without_ranges_the_strength_has_a_closed_form() -> None:
    """margin / Σ r_m ‖w‖_dual"""
    model = random_linear(2, seed=5)
    logits = model.logits(model.inputs)
    difference = {name: weight[0] - weight[1] for name, weight in model.weights.items()}
    slope = 0.05 * difference["a"].abs().sum() + 0.1 * difference["b"].norm() + 0.2 * difference["c"].abs().max()
    assert model.labels.unique().numel() == 2
    exact = model.exact(parse("a@linf:0.05 + b@l2:0.1 + c@l1:0.2"))
    torch.testing.assert_close(exact.float(), (logits[:, 0] - logits[:, 1]).abs() / slope, rtol=1e-4, atol=1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, scenario = random_linear(3, bounded=True), parse("a@l1:0.3 + b@linf:0.05")
    whole = model.exact(scenario)
    monkeypatch.setattr("benchmarks.oracles.linear.AT_ONCE", 200)
    assert torch.equal(model.exact(scenario), whole)


EDITED = {"l0": (3,), "dead": (2, 2, 2), "stuck": (3,), "shift": (5,), "tokens": (3, 3)}
BESIDE = "a@l1:0.2"


def beside(edits: list[str], classes: int) -> Linear:
    generator, samples = seeded(len(edits) + classes), 12
    inputs = {"a": torch.rand(samples, 6, generator=generator)}
    for edit in edits:
        inputs[edit] = 2 * torch.rand(samples, *EDITED[edit], generator=generator) - 1
    if "tokens" in edits:
        inputs["tokens"] = F.one_hot(torch.randint(3, (samples, 3), generator=generator), 3).float()
    weights = {name: torch.randn(classes, x[0].numel(), generator=generator) for name, x in inputs.items()}
    return Linear(weights, inputs, {name: Range(-1.0, 1.0) for name in inputs if name != "tokens"})


def changed(edit: str, x: Tensor) -> Iterator[Tensor]:
    """Everything that an edit makes of `x` (B, ...)."""
    if edit == "shift":
        length = x.shape[1]
        yield from (F.pad(x, (steps, 0))[:, :length] for steps in range(length))
        yield from (F.pad(x, (0, steps))[:, steps:] for steps in range(1, length))
        return
    if edit == "tokens":
        yield from (F.one_hot(torch.tensor(letters), 3).float().expand_as(x) for letters in product(range(3), repeat=3))
        return
    places = x.shape[-1] if edit != "dead" else x[0, 0].numel()
    ends = (-1.0, 1.0) if edit == "l0" else (-1.0,)
    for count in range(places + 1):
        for chosen, values in product(combinations(range(places), count), product(ends, repeat=count)):
            moved = x.clone().flatten(-2) if edit == "dead" else x.clone()
            moved[..., list(chosen)] = torch.tensor(values)
            yield moved.view_as(x)


def by_trying(model: Linear, scenario: Scenario) -> Tensor:
    """Every combination of edits, each continued by the norm ball alone."""
    best = torch.full((len(model.labels),), float("inf"), dtype=torch.float64)
    plain, labels = Scenario(scenario.continuous.attacked), model.labels
    for edited in product(*(changed(ball.norm_name, model.inputs[ball.modality]) for ball in scenario.edits)):
        moved = {**model.inputs, **{ball.modality: x for ball, x in zip(scenario.edits, edited, strict=True)}}
        sizes = [ball.size(model.inputs[ball.modality], moved[ball.modality]) / ball.radius for ball in scenario.edits]
        there = Linear(model.weights, moved, model.bounds)
        beside = torch.where(there.labels == labels, there.exact(plain), 0.0)
        best = torch.minimum(best, torch.stack([*sizes, beside]).amax(0))
    return best


@pytest.mark.parametrize(
    "edits", [["l0"], ["dead"], ["shift"], ["tokens"], ["l0", "tokens"], ["shift", "dead"]], ids=" ".join
)
@pytest.mark.parametrize("classes", [2, 4])
def test_all_edits_one_by_one(edits: list[str], classes: int) -> None:
    model = beside(edits, classes)
    scenario = parse(
        " + ".join([BESIDE, *(f"{edit}@{edit}:{size}" for edit, size in zip(edits, (1.5, 2), strict=False))])
    )
    exact = model.exact(scenario)
    torch.testing.assert_close(exact, by_trying(model, scenario), rtol=1e-5, atol=1e-7)
    assert bool((exact < model.exact(parse(BESIDE))).any()), "no edit helps"


@pytest.mark.parametrize("shape", [(3,), (3, 2, 2), (4, 3)])
def test_stuck_channels_as_the_search_is_judged(shape: tuple[int, ...]) -> None:
    """Alone, every set of channels is judged over the stored random draws."""
    x, ball = 2 * torch.rand(12, *shape, generator=seeded(1)) - 1, Ball("stuck", "stuck", 2.0)
    model = Linear(
        {"stuck": torch.randn(2, x[0].numel(), generator=seeded(2))}, {"stuck": x}, {"stuck": Range(-1.0, 1.0)}
    )
    objective = judged(
        model.objective(), Region.of(model.inputs, model.bounds, Scenario((ball,))), [str(row) for row in range(12)], 0
    )
    best, axis = torch.full((12,), float("inf"), dtype=torch.float64), 1 if len(shape) == 3 else len(shape)
    for chosen in product((False, True), repeat=x.shape[axis]):
        mask = torch.tensor(chosen).view([-1 if each == axis else 1 for each in range(x.ndim)])
        moved = torch.where(mask, -1.0, x)
        fails = objective({"stuck": moved}).fails
        best = torch.where(fails, torch.minimum(best, ball.size(x, moved) / 2), best)
    assert torch.equal(model.exact(Scenario((ball,))), best) and bool(best.isfinite().any())


def test_stuck_channels_beside_a_norm() -> None:
    """At the exact strength the best of all changes fails in half of the draws, below it does
    not.
    """
    model = beside(["stuck"], 2)
    model.weights["stuck"] *= 3
    scenario, names = parse("a@linf:0.05 + stuck@stuck:1"), [str(row) for row in range(12)]
    exact = model.exact(scenario)
    objective = judged(model.objective(), Region.of(model.inputs, model.bounds, scenario), names, 0)
    against = (model.weights["a"][1 - model.labels] - model.weights["a"][model.labels]).sign()
    within = exact.isfinite() & (exact.frac() > 1e-3)
    for factor, expected in ((1 - 1e-4, False), (1 + 1e-4, True)):
        failed = torch.zeros(12, dtype=torch.bool)
        t = exact * factor
        for chosen in product((False, True), repeat=3):
            moved = torch.where(torch.tensor(chosen), -1.0, model.inputs["stuck"])
            near = (model.inputs["a"] + (0.05 * t[:, None]).float() * against).clamp(-1, 1)
            failed |= objective({"a": near, "stuck": moved}).fails & (sum(chosen) <= t)
        assert bool((failed == expected)[within].all()) and bool(within.any())


GRID = 61  # points along each of three values


@pytest.mark.parametrize("scenario", ["a@linf:0.3", "a@linf:0.2 + b@linf:0.3", "a@l1:0.3 + b@linf:0.2", "a@l1:0.4"])
@pytest.mark.parametrize("kind", ["pieces", "one layer", "two layers", "trained"])
def test_small_models_against_a_grid(kind: str, scenario: str) -> None:
    """Three values in [0, 1]: no point of a grid fails below the exact strength, and one fails a
    step above it.
    """
    widths, asked = {"a": 2, "b": 1}, parse(scenario)
    model: Pieces | Network
    if kind == "pieces":
        model = random_pieces(3, 3, 5, 1, widths)
    else:
        hidden = {"one layer": (12,), "two layers": (6, 6), "trained": (8, 6)}[kind]
        model = random_network(3, hidden, 5, 4, widths, steps=100 if kind == "trained" else 0)
    exact = model.exact(asked, torch.full((5,), float("inf"), dtype=torch.float64))
    assert bool((exact < 4).any())
    step = 1 / (GRID - 1)
    for row, right in enumerate(model.objective().labels):
        nearest = nearest_on_a_grid(model, {name: x[row] for name, x in model.inputs.items()}, int(right), asked)
        assert float(exact[row]) * (1 - 1e-4) <= nearest <= float(exact[row]) + 2 * step / 0.2


def nearest_on_a_grid(model: Pieces | Network, clean: dict[str, Tensor], right: int, scenario: Scenario) -> float:
    """The smallest strength that reaches a failing point of a grid; other modalities stay."""
    along = torch.linspace(0, 1, GRID)
    points = dict(zip("ab", torch.cartesian_prod(along, along, along).split([2, 1], 1), strict=True))
    still = {name: x.expand_as(points[name]) for name, x in clean.items()}
    moved = {name: points[name] if name in scenario.attacked_names else x for name, x in still.items()}
    sizes = [ball.size(still[ball.modality], moved[ball.modality]) / ball.radius for ball in scenario.attacked]
    failed = torch.stack(sizes).amax(0)[model.logits(moved).argmax(1) != right]
    return float(failed.min()) if len(failed) else float("inf")


def test_one_piece_is_a_linear_model() -> None:
    model = random_pieces(4, 1, 12, 0, {"a": 6, "b": 4})
    weights = dict(zip("ab", model.weight[:, 0].split([6, 4], 1), strict=True)) | {"one": model.bias}
    same = Linear(weights, {**model.inputs, "one": torch.ones(12, 1)}, model.bounds)
    for scenario in map(parse, ("a@linf:0.1", "a@l1:0.4 + b@linf:0.1", "b@l1:0.3")):
        known = torch.full((12,), float("inf"), dtype=torch.float64)
        torch.testing.assert_close(model.exact(scenario, known), same.exact(scenario), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("scenario", ["text@tokens:1", "text@tokens:1.5 + a@l1:0.3", "a@l2:0.2"])
def test_a_bag_of_characters_is_a_linear_model(scenario: str) -> None:
    model = random_texts(3, 24, 0, bigrams=False)
    same = Linear({"a": model.weight, "text": model.single.T.repeat(1, 6)}, model.inputs, {"a": Range(0.0, 1.0)})
    exact, expected = model.exact(parse(scenario)), same.exact(parse(scenario))
    known = ~exact.isnan()
    torch.testing.assert_close(exact[known], expected[known], rtol=1e-6, atol=1e-8)
    assert bool((expected[~known] > 1.9).all()) and int(known.sum()) > 12
