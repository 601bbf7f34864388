"""Token edits: against brute force where texts are short enough, and exact where the model is
linear.
"""

from itertools import combinations, product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.edits.tokens import is_one_hot
from attacks.errors import BadInput
from attacks.fixed_budget import FixedBudget
from attacks.fmn import fmn
from attacks.objective import Classification
from attacks.pgd import pgd
from attacks.presets import FAST
from attacks.region import Inputs, Range, Region
from attacks.scenario import parse
from attacks.search import search
from attacks.search_state import Found, search_all
from attacks.verify import verify

POSITIONS, VOCABULARY, SAMPLES = 4, 5, 64
UNIT = {"text": Range(0.0, 1.0)}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texts(seed: int = 0, samples: int = SAMPLES) -> Tensor:
    return F.one_hot(torch.randint(VOCABULARY, (samples, POSITIONS), generator=seeded(seed)), VOCABULARY).float()


def perceptron(seed: int, classes: int = 3, width: int = POSITIONS * VOCABULARY) -> torch.nn.Sequential:
    model = torch.nn.Sequential(torch.nn.Linear(width, 24), torch.nn.Tanh(), torch.nn.Linear(24, classes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7, generator=seeded(seed + parameter.numel()))
    return model.requires_grad_(False)


def reader(seed: int, x: Tensor) -> Classification:
    """A random network on text, and samples it is right about."""
    model = perceptron(seed)
    return Classification(lambda inputs: model(inputs["text"].flatten(1)), model(x.flatten(1)).argmax(1))


def joint(seed: int, x: Tensor, image: Tensor) -> Classification:
    model = perceptron(seed, width=POSITIONS * VOCABULARY + image.shape[1])

    def logits(inputs: Inputs) -> Tensor:
        return model(torch.cat([inputs["text"].flatten(1), inputs["image"]], dim=1))

    return Classification(logits, logits({"text": x, "image": image}).argmax(1))


def fewest(objective: Classification, x: Tensor, most: int) -> Tensor:
    """The fewest edits that fail, up to so many, by trying all."""
    best = torch.full((len(x),), float("inf"), dtype=torch.float64)
    for count in range(most, 0, -1):
        for places in combinations(range(POSITIONS), count):
            for letters in product(range(VOCABULARY), repeat=count):
                moved = x.clone()
                moved[:, places] = F.one_hot(torch.tensor(letters), VOCABULARY).float()
                best[objective({"text": moved}).fails] = count
    return best


def changed(found: Found, x: Tensor) -> Tensor:
    return (found.witness["text"] != x).any(-1).sum(1)


@pytest.mark.parametrize("seed", range(4))
def test_against_all_texts(seed: int) -> None:
    x = texts(seed)
    objective = reader(seed, x)
    found, best = search(objective, {"text": x}, UNIT, "text@tokens:1", algorithm=FAST), fewest(objective, x, 2)
    assert bool((best == 1).any()) and bool((best == 2).any())
    assert torch.equal(found.strength == 1, best == 1)
    assert float((found.strength == 2)[best == 2].double().mean()) >= 0.9
    assert bool((found.strength >= best)[best.isfinite()].all()) and bool((found.strength[best.isinf()] > 2).all())
    assert bool(is_one_hot(found.witness["text"]).all())
    met = found.strength.isfinite()
    assert torch.equal(changed(found, x)[met].double(), found.strength[met])


@pytest.mark.parametrize(
    ("radius", "limit", "most"), [(2.0, 8.0, 4), (0.5, 8.0, 4), (0.5, 4.5, 2), (3.0, 0.7, 2), (1.0, 0.9, 0)]
)
def test_budgets_are_whole_numbers(radius: float, limit: float, most: int) -> None:
    x = texts()
    objective = reader(0, x)
    one = search(objective, {"text": x}, UNIT, "text@tokens:1", algorithm=FAST).strength
    other = search(objective, {"text": x}, UNIT, f"text@tokens:{radius}", algorithm=FAST, limit=limit).strength
    assert torch.equal(other, torch.where(one <= most, one / radius, float("inf")))


def test_a_linear_text_model_is_exact() -> None:
    """With two classes: as many positions as needed, and the best replacement in each."""
    x, weight = texts(samples=256), torch.randn(2, POSITIONS * VOCABULARY, generator=seeded(1))
    labels = (x.flatten(1) @ weight.T).argmax(1)
    objective = Classification(lambda inputs: inputs["text"].flatten(1) @ weight.T, labels)
    slope = ((weight[1] - weight[0]) * (1 - 2 * labels)[:, None]).view(-1, POSITIONS, VOCABULARY)
    gains = (slope.amax(-1) - (slope * x).sum(-1)).sort(dim=1, descending=True).values.cumsum(1)
    margin = (slope * x).sum((1, 2))
    exact = torch.where(margin + gains[:, -1] >= 0, 1 + (margin[:, None] + gains < 0).sum(1), float("inf")).double()
    found = search(objective, {"text": x}, UNIT, "text@tokens:1", algorithm=FAST)
    assert torch.equal(found.strength, exact)
    assert len(exact.unique()) > 2


def test_padding_and_forbidden_tokens_stay() -> None:
    x = texts()
    x[:, 3] = 0.0
    low, high = torch.zeros_like(x), torch.ones_like(x)
    high[:, 3] = 0.0
    high[:, :3, 4] = x[:, :3, 4]  # the last token may stay, not come
    found = search(reader(0, x), {"text": x}, {"text": Range(low, high)}, "text@tokens:1", algorithm=FAST)
    moved = found.witness["text"]
    assert bool(found.strength.isfinite().any()) and bool((found.strength[found.strength.isfinite()] <= 3).all())
    assert torch.equal(moved[:, 3], x[:, 3])
    assert bool(is_one_hot(moved[:, :3]).all()) and bool((moved[:, :3, 4] <= x[:, :3, 4]).all())


def test_two_texts_take_turns() -> None:
    x, other = texts(0), texts(1)
    model = perceptron(3, width=2 * POSITIONS * VOCABULARY)

    def logits(inputs: Inputs) -> Tensor:
        return model(torch.cat([inputs["a"], inputs["b"]], dim=1).flatten(1))

    inputs = {"a": x, "b": other}
    objective = Classification(logits, logits(inputs).argmax(1))
    found = dict(search_all(FAST, objective, inputs, {}, [parse("a@tokens:1 + b@tokens:2")]))
    whole = found[parse("a@tokens:1 + b@tokens:2")]
    for scenario, single in found.items():
        assert bool((whole.strength <= single.strength).all()), str(scenario)
    assert bool((whole.strength < torch.stack([single.strength for single in found.values()][:2]).amin(0)).any())
    met = whole.strength.isfinite()
    edits = {name: (whole.witness[name] != inputs[name]).any(-1).sum(1) for name in inputs}
    assert bool(((edits["a"] <= whole.strength) & (edits["b"] <= 2 * whole.strength))[met].all())


def test_text_and_image_together_are_never_safer() -> None:
    x, image = texts(), torch.rand(SAMPLES, 6, generator=seeded(1))
    objective, inputs = joint(3, x, image), {"text": x, "image": image}
    both = parse("image@linf:0.1 + text@tokens:1")
    found = dict(search_all(FAST, objective, inputs, {"image": Range(0.0, 1.0)}, [both, parse("text@tokens:2")]))
    for smaller in both.below():
        assert bool((found[both].strength <= found[smaller].strength).all()), str(smaller)
    assert bool((found[parse("text@tokens:2")].strength <= found[parse("text@tokens:1")].strength).all())
    better = found[both].strength < torch.minimum(*(found[smaller].strength for smaller in both.below()))
    assert bool(better.any())
    assert any(finder.startswith("hotflip and fmn") for finder in found[both].finder)
    met = found[both].strength.isfinite()
    assert bool((changed(found[both], x)[met] <= found[both].strength[met]).all())


def test_more_than_three_modalities_start_from_the_continuous_ones() -> None:
    x = texts(samples=16)
    parts = {name: torch.rand(16, 2, generator=seeded(number)) for number, name in enumerate("abc")}
    model = perceptron(4, width=POSITIONS * VOCABULARY + 6)

    def logits(inputs: Inputs) -> Tensor:
        return model(torch.cat([inputs["text"].flatten(1), *(inputs[name] for name in "abc")], dim=1))

    inputs = {"text": x, **parts}
    objective, norms = Classification(logits, logits(inputs).argmax(1)), "a@linf:0.1 + b@l2:0.1 + c@l1:0.1"
    found = dict(search_all(FAST, objective, inputs, {}, [parse(f"{norms} + text@tokens:1")]))
    alone = search(objective, inputs, {}, norms, algorithm=FAST)
    assert len(found) == 1
    whole = found[parse(f"{norms} + text@tokens:1")]
    assert bool((whole.strength <= 1.01 * alone.strength).all()) and bool((whole.strength < alone.strength).any())


def test_batch_size_changes_nothing() -> None:
    x, image = texts(samples=24), torch.rand(24, 6, generator=seeded(1))
    scenario, inputs = "image@linf:0.3 + text@tokens:1", {"text": x, "image": image}
    objective = joint(3, x, image)
    whole = search(objective, inputs, {}, scenario, algorithm=FAST, samples=[str(row) for row in range(24)])
    for start in range(0, 24, 8):
        rows = torch.arange(start, start + 8)
        part = {name: values[rows] for name, values in inputs.items()}
        found = search(
            objective.take(rows), part, {}, scenario, algorithm=FAST, samples=[str(row) for row in rows.tolist()]
        )
        torch.testing.assert_close(found.strength, whole.strength[rows], rtol=1e-5, atol=0)
        assert torch.equal(found.witness["text"], whole.witness["text"][rows])
        assert torch.equal(found.gradients, whole.gradients[rows])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text@tokens", "tokens needs a radius, as in text@tokens:1"),
        ("text@tokens:0", "must be positive and finite"),
        ("text@token:1", "did you mean tokens"),
        ("text@tokens:1 + text@linf:1", "named twice"),
    ],
)
def test_mistakes_are_pointed_at(text: str, message: str) -> None:
    with pytest.raises(BadInput) as error:
        parse(text)
    assert message in str(error.value)


def test_the_order_is_that_of_all_scenarios() -> None:
    assert str(parse("text@tokens:2 + image@linf:0.5")) == "image@linf:0.5 + text@tokens:2"
    assert parse("text@tokens:1") < parse("text@tokens:2") < parse("image@linf:0.5 + text@tokens:3")
    assert not parse("text@tokens:1") <= parse("text@linf:1")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.full((1, 2, 2), 0.5), "2 rows that are not one-hot"),
        (torch.ones(1, 3), "one-hot rows (positions, vocabulary)"),
    ],
)
def test_what_is_no_text_is_refused(x: Tensor, message: str) -> None:
    with pytest.raises(BadInput) as error:
        Region.of({"text": x}, {}, "text@tokens:1")
    assert message in str(error.value) and "text@linf:0.1" in str(error.value)


def test_attacks_by_gradients_name_the_relaxation() -> None:
    x = texts(samples=2)
    region = Region.of({"text": x}, UNIT, "text@tokens:1")
    for attack in (
        lambda: pgd(reader(0, x), region, 1.0),
        lambda: fmn(reader(0, x), region, 8.0),
        lambda: FixedBudget("pgd", pgd).check(region, 3),
    ):
        with pytest.raises(BadInput, match=r"text@linf:0\.1"):
            attack()


def claim(strength: float, *rows: tuple[float, float, float]) -> bool:
    """Is this a witness against a model that fails on anything, from the text 000?"""
    clean = {"text": F.one_hot(torch.zeros(1, 3, dtype=torch.int64), 3).float()}
    moved = clean["text"].clone()
    for position, row in enumerate(rows):
        moved[0, position] = torch.tensor(row)
    fails = Classification(lambda inputs: torch.tensor([[0.0, 1.0]]), torch.zeros(1, dtype=torch.int64))
    return bool(verify(fails, clean, {"text": moved}, UNIT, parse("text@tokens:2"), torch.tensor([strength])))


def test_verify_counts_and_looks_at_every_row() -> None:
    one, two = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    assert claim(0.5, one) and claim(1.0, one, two) and claim(1.4, one, two)
    assert not claim(0.49, one) and not claim(1.0, one, two, one) and not claim(1.4, one, two, one)
    for row in (
        (0.0, 0.5, 0.5),
        (0.0, 0.0, 0.0),
        (1.0, 1e-9, 0.0),
        (0.0, 1.0, 1.0),
        (0.0, float("nan"), 1.0),
        (0.0, 0.9, 0.0),
    ):
        assert not claim(1.0, row), row
