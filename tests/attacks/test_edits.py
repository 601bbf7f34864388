"""Edits that no norm measures: exact where the model is linear, and each reaches the model as in
its docstring.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attacks.edits import EDITS, Edit, Place
from attacks.eot import SEARCHED, STORED, Expectation, judged
from attacks.errors import BadInput
from attacks.objective import Classification
from attacks.presets import FAST
from attacks.region import Inputs, Range, Region
from attacks.sampling import eot_draws
from attacks.scenario import Ball, parse
from attacks.search import search
from attacks.search_state import search_all
from attacks.verify import verify

SAMPLES = 6
SHAPES = {
    "tokens": (5, 4),
    "l0": (9,),
    "patch": (2, 8, 7),
    "universal": (8, 8),
    "air": (120,),
    "dead": (2, 6, 5),
    "stuck": (3, 4, 4),
    "shift": (40,),
}
SIZES = dict.fromkeys(EDITS, 1) | {
    "tokens": 2,
    "l0": 3,
    "patch": 0.2,
    "universal": 0.2,
    "air": 0.1,
    "dead": 3,
    "shift": 4,
}
SOUNDS = [name for name, edit in EDITS.items() if edit.kinds == ("audio",)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def values(name: str, seed: int = 0) -> Tensor:
    shape = SHAPES.get(name, (2, 8, 7))
    if name == "tokens":
        return torch.nn.functional.one_hot(
            torch.randint(shape[1], (SAMPLES, shape[0]), generator=seeded(seed)), shape[1]
        ).float()
    return torch.rand(SAMPLES, *shape, generator=seeded(seed)) * (2 if name in SOUNDS else 1) - (
        1 if name in SOUNDS else 0
    )


def valid(name: str) -> Range:
    return Range(-1.0, 1.0) if name in SOUNDS else Range(0.0, 1.0)


def linear(x: Tensor, seed: int = 1, classes: int = 3) -> tuple[Classification, Tensor]:
    weights = torch.randn(classes, x[0].numel(), generator=seeded(seed))

    def logits(inputs: Inputs) -> Tensor:
        return inputs["m"].flatten(1) @ weights.T

    return Classification(logits, logits({"m": x}).argmax(1)), weights


def brightness(x: Tensor) -> Classification:
    """Brighter or darker than grey, at every place: a change counts that reaches the model at a
    drawn place or value.
    """

    def logits(inputs: Inputs) -> Tensor:
        mean = inputs["m"].flatten(1).mean(1) - 0.5
        return torch.stack([mean, -mean], 1)

    return Classification(logits, logits({"m": x}).argmax(1))


@pytest.fixture(params=sorted(EDITS))
def edit(request: pytest.FixtureRequest) -> Edit:
    return EDITS[request.param]


def place_of(edit: Edit) -> Place:
    x = values(edit.name)
    return Place(x, *valid(edit.name).over(x).ends)


def test_nothing_moved_is_received_bit_for_bit_and_has_no_size(edit: Edit) -> None:
    place = place_of(edit)
    assert edit.fault(place) is None
    world = torch.rand(SAMPLES, max(edit.draws, 1), generator=seeded(3), dtype=torch.float64)
    assert torch.equal(edit.received(place, place.x, world), place.x)
    assert bool((edit.size(place.x, place.x) == 0).all())


def test_a_start_keeps_to_the_budget_and_the_range(edit: Edit) -> None:
    place, budget = place_of(edit), torch.full((SAMPLES,), float(SIZES[edit.name]), dtype=torch.float64)
    moved = edit.start(place, budget, torch.rand(place.x.shape, generator=seeded(4)))
    assert bool((edit.size(place.x, moved) <= budget * (1 + 1e-6)).all())
    assert bool(((moved >= place.low) & (moved <= place.high)).all())


def test_a_search_offers_only_what_verify_passes_and_costs_are_counted(edit: Edit) -> None:
    x, scenario = values(edit.name), parse(f"m@{edit.name}:{SIZES[edit.name]}")
    objective = brightness(x) if edit.name in ("patch", "stuck") else linear(x)[0]
    bounds = {"m": valid(edit.name)}
    found = search(objective, x_of := {"m": x}, bounds, scenario, algorithm=FAST, limit=4.0)
    assert bool(found.strength.isfinite().any())
    rows = found.strength.isfinite().nonzero().squeeze(1)
    over = judged(objective, Region.of(x_of, bounds, scenario), [str(row) for row in range(SAMPLES)], 0)
    assert bool(verify(over, x_of, found.witness, bounds, scenario, found.strength.clamp(max=4.0))[rows].all())
    assert bool((found.gradients[rows] > 0).all())
    too_strict = found.strength.clamp(max=4.0) * 0.9
    assert not bool(verify(over, x_of, found.witness, bounds, scenario, too_strict)[rows].any())


def test_verify_refuses_an_edit_of_another_kind() -> None:
    x = values("dead")
    grey, bounds = x.clone(), {"m": Range(0.0, 1.0)}
    grey[:, :, 2, 2] = 0.5
    wrong = Classification(
        lambda inputs: torch.tensor([[0.0, 1.0]]).expand(SAMPLES, 2), torch.zeros(SAMPLES, dtype=torch.int64)
    )
    one = torch.ones(SAMPLES, dtype=torch.float64)
    assert not bool(verify(wrong, {"m": x}, {"m": grey}, bounds, parse("m@dead:5"), one).any())
    assert bool(verify(wrong, {"m": x}, {"m": grey}, bounds, parse("m@l0:2"), one).all())
    assert not bool(verify(wrong, {"m": x}, {"m": grey}, bounds, parse("m@patch:0.01"), one).any())
    assert not bool(
        verify(wrong, {"m": x[:, 0, 0]}, {"m": grey[:, 0, 0].roll(1, 1)}, bounds, parse("m@shift:3"), one).any()
    )


def fewest(x: Tensor, weights: Tensor, label: int) -> float:
    """The fewest values of one sample to move to an end of [0, 1] so that a wrong class is not
    behind.
    """
    logits, best = weights @ x, float("inf")
    for wrong in set(range(len(weights))) - {label}:
        slope = weights[wrong] - weights[label]
        gains = torch.where(slope > 0, slope * (1 - x), -slope * x).sort(descending=True).values.cumsum(0)
        enough = (gains >= logits[label] - logits[wrong]).nonzero()
        best = min(best, int(enough[0]) + 1) if len(enough) else best
    return float(best)


@pytest.mark.parametrize("seed", range(4))
def test_l0_is_exact_on_two_classes_and_close_on_three(seed: int) -> None:
    x = values("l0", seed)
    for classes, slack in ((2, 0), (3, 1)):
        objective, weights = linear(x, seed + 10, classes)
        exact = torch.tensor([fewest(row, weights, int(label)) for row, label in zip(x, objective.labels, strict=True)])
        found = search(objective, {"m": x}, {"m": Range(0.0, 1.0)}, "m@l0:1", limit=9.0)
        assert bool((found.strength >= exact - 1e-9).all())
        assert bool((found.strength <= exact + slack).all()), (found.strength, exact)


@pytest.mark.parametrize("steps", [0, 3, -3])
def test_a_shift_is_found_by_its_size(steps: int) -> None:
    x = torch.randn(2, 30, generator=seeded(0))
    moved = torch.zeros_like(x)
    moved[:, max(steps, 0) : 30 + min(steps, 0)] = x[:, max(-steps, 0) : 30 - max(steps, 0)]
    assert EDITS["shift"].size(x, moved).tolist() == [abs(steps)] * 2
    moved[0, 15] += 1
    assert EDITS["shift"].size(x, moved)[0] == float("inf")


def test_the_right_shift_is_found() -> None:
    x = torch.zeros(3, 40)
    x[:, 20] = 1.0
    objective = Classification(
        lambda inputs: torch.stack([inputs["m"][:, 20] - 0.5, inputs["m"][:, 23]], 1), torch.zeros(3, dtype=torch.int64)
    )
    found = search(objective, {"m": x}, {"m": Range(-1.0, 1.0)}, "m@shift:2", limit=8.0)
    assert found.strength.tolist() == [0.5] * 3  # one step: the first logit falls to -0.5, below 0


def test_a_patch_lands_inside_and_no_larger_than_it_is() -> None:
    x = torch.zeros(64, 1, 9, 12)
    place = Place(x, torch.zeros_like(x), torch.ones_like(x))
    moved = EDITS["patch"].start(
        place, torch.full((64,), 0.15, dtype=torch.float64), torch.rand(x.shape, generator=seeded(0)) * 0.5 + 0.5
    )
    side = round(float(EDITS["patch"].size(x, moved)[0] * 9 * 12) ** 0.5)
    assert side == 4
    world = eot_draws(Ball("m", "patch", 0.1), [str(row) for row in range(64)], 0, 1)[:, 0]
    there = EDITS["patch"].received(place, moved, world) != 0
    heights, widths = there.any(3).sum(2).flatten(), there.any(2).sum(2).flatten()
    assert bool(((heights == widths) & (heights >= 3) & (heights <= 4)).all())
    assert len({tuple(each.nonzero()[0].tolist()) for each in there}) > 20  # all over the image


def test_a_patch_stays_at_one_place_of_a_video() -> None:
    x = torch.zeros(64, 2, 3, 9, 12)
    place = Place(x, torch.zeros_like(x), torch.ones_like(x))
    budget = torch.full((64,), 0.15, dtype=torch.float64)
    moved = EDITS["patch"].start(place, budget, torch.rand(x.shape, generator=seeded(4)).clamp_min(0.1))
    assert float(EDITS["patch"].size(x, moved).max()) <= 0.15
    world = eot_draws(Ball("m", "patch", 0.15), [str(row) for row in range(64)], 0, 1)[:, 0]
    shown = EDITS["patch"].received(place, moved, world)
    there = (shown != 0).any(1)  # (B, T, H, W)
    assert bool(there.any()) and torch.equal(there, there[:, :1].expand_as(there))
    assert not torch.equal(shown[:, :, 0], shown[:, :, 1]), "frames differ in content"


def test_a_patch_on_a_video_is_found_and_verified() -> None:
    x, bounds, scenario = torch.rand(4, 1, 3, 6, 6, generator=seeded(0)), {"m": Range(0.0, 1.0)}, parse("m@patch:0.3")
    objective = brightness(x)
    found = search(objective, {"m": x}, bounds, scenario, algorithm=FAST, limit=3.0)
    rows = found.strength.isfinite().nonzero().squeeze(1)
    over = judged(objective, Region.of({"m": x}, bounds, scenario), [str(row) for row in range(4)], 0)
    assert len(rows) and bool(verify(over, {"m": x}, found.witness, bounds, scenario, found.strength)[rows].all())


@pytest.mark.parametrize("name", ["patch", "air", "stuck"])
def test_what_is_received_is_differentiable_in_what_was_made(name: str) -> None:
    edit = EDITS[name]
    place = place_of(edit)
    budget = torch.full((SAMPLES,), float(SIZES[name]), dtype=torch.float64)
    moved = (
        edit.move(place, budget, _first_turn(place))
        if name == "stuck"
        else edit.start(place, budget, torch.rand(place.x.shape, generator=seeded(7)))
    )
    leaf = moved.detach().requires_grad_()
    world = torch.rand(SAMPLES, edit.draws, generator=seeded(5), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(edit.received(place, leaf, world).square().sum(), leaf)
    assert bool((gradient * (moved != place.x)).flatten(1).any(1).all())


def _first_turn(place: Place):  # type: ignore[no-untyped-def]
    from attacks.edits import Turn

    return Turn(place.x, place.x, torch.randn(place.x.shape, generator=seeded(6)), torch.ones_like(place.x), 9, 10)


def test_a_sound_in_the_air_is_quieter_and_echoes() -> None:
    x = torch.zeros(1, 200)
    place = Place(x, x - 1, x + 1)
    click = x.clone()
    click[0, 10] = 0.5
    edit = EDITS["air"]
    heard = torch.stack(
        [
            edit.received(place, click, world[None])
            for world in torch.rand(8, edit.draws, generator=seeded(0), dtype=torch.float64)
        ]
    )
    assert bool((heard[:, 0, 10] > 0.2).all() and (heard[:, 0, 10] < 0.56).all())
    assert bool((heard[:, 0, 11:21].abs().amax(1) > 0.03).all())


def test_a_sample_fails_in_half_of_the_stored_draws_at_least() -> None:
    x = torch.full((2, 3), 0.5)
    region = Region.of({"m": x}, {"m": Range(0.0, 1.0)}, "m@stuck:1")
    threshold = torch.tensor([0.2, 0.8])
    # The sample fails where the stuck value exceeds its threshold: in about 80 and 20 % of the
    # draws.
    objective = _Above(threshold)
    over = judged(objective, region, ["a", "b"], 0)
    assert isinstance(over, Expectation) and over.draws == STORED
    stuck = x.clone()
    stuck[:, 0] = 1.0
    verdict = over({"m": stuck})
    counted = torch.stack([objective(received).fails for received in over.received({"m": stuck})]).sum(0)
    assert verdict.fails.tolist() == [True, False] == (counted >= STORED // 2).tolist()
    assert torch.equal(verdict.losses["margin"] >= 0, verdict.fails)
    assert over.holding(region.inputs, ("m",)).draws == SEARCHED


class _Above:
    def __init__(self, threshold: Tensor) -> None:
        self.threshold = threshold

    def __call__(self, inputs: Inputs):  # type: ignore[no-untyped-def]
        from attacks.objective import Verdict

        margin = inputs["m"][:, 0] - self.threshold
        return Verdict({"margin": margin}, margin >= 0)

    def take(self, rows: Tensor) -> _Above:
        return _Above(self.threshold[rows])

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> _Above:
        return self


def test_draws_do_not_depend_on_the_other_samples() -> None:
    ball = Ball("m", "patch", 0.1)
    assert torch.equal(eot_draws(ball, ["a", "b", "c"], 7, 4)[1:2], eot_draws(ball, ["b"], 7, 4))


def test_a_joint_search_of_edits_and_norms_is_never_safer() -> None:
    x = {"m": values("patch"), "n": torch.rand(SAMPLES, 6, generator=seeded(8))}
    weights = torch.randn(3, x["m"][0].numel(), generator=seeded(9)), torch.randn(3, 6, generator=seeded(10))

    def logits(inputs: Inputs) -> Tensor:
        return inputs["m"].flatten(1) @ weights[0].T + inputs["n"] @ weights[1].T

    objective = Classification(logits, logits(x).argmax(1))
    bounds = {"m": Range(0.0, 1.0), "n": Range(0.0, 1.0)}
    found = dict(search_all(FAST, objective, x, bounds, [parse("m@patch:0.2 + n@linf:0.3")], limit=4.0))
    joint = found[parse("m@patch:0.2 + n@linf:0.3")].strength
    singles = torch.minimum(found[parse("m@patch:0.2")].strength, found[parse("n@linf:0.3")].strength)
    assert bool((joint <= singles).all())
    assert bool((joint < singles).any())


def test_a_universal_patch_is_one_for_all_and_comes_alone() -> None:
    x, bounds = values("universal"), {"m": Range(0.0, 1.0), "n": Range(0.0, 1.0)}
    objective = brightness(x)
    found = search(objective, {"m": x}, {"m": bounds["m"]}, "m@universal:0.2", algorithm=FAST, limit=4.0)
    sizes = {}
    for strength, witness, clean in zip(found.strength.tolist(), found.witness["m"], x, strict=True):
        if 0 < strength < float("inf"):
            sizes.setdefault(strength, []).append(witness[witness != clean])
    assert all(torch.equal(each, group[0]) for group in sizes.values() for each in group)
    assert max(map(len, sizes.values())) > 1
    both = Classification(
        lambda inputs: objective.forward({"m": inputs["m"]}) + inputs["n"].sum(1, keepdim=True), objective.labels
    )
    with pytest.raises(BadInput, match="must be the only attack"):
        search(both, {"m": x, "n": x[:, 0]}, bounds, "m@universal:0.2 + n@linf:0.1")


@pytest.mark.parametrize(
    ("scenario", "x", "message"),
    [
        ("m@patch:0.1", torch.zeros(1, 5), "a patch needs an image"),
        ("m@air:0.1", torch.zeros(1, 5, 5), "waveform"),
        ("m@dead:1", torch.zeros(1, 5), "dead pixels need an image"),
        ("m@shift:1", torch.zeros(1, 2, 3, 4), "a shift needs a waveform"),
        ("m@l0:1", torch.zeros(1, 5), "has no finite range"),
        ("m@universal:0.1", torch.zeros(1, 4, 4), "all samples share"),
    ],
)
def test_inputs_that_cannot_be_edited_are_refused(scenario: str, x: Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Region.of({"m": x}, {}, scenario)
