"""A search without gradients: near the exact strength of linear models, from scores or from labels,
and counted in queries.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attacks.blackbox import BlackBox
from attacks.errors import BadInput, ModelBroke
from attacks.objective import Classification
from attacks.presets import STANDARD
from attacks.region import Inputs, Range
from attacks.scenario import parse
from attacks.search import search
from benchmarks.oracles.linear import random_linear

QUERIES = 500
NORMS = ["a@linf:0.05", "a@l2:0.1", "a@l1:0.3", "a@linf:0.05 + b@l2:0.1"]


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("scenario", NORMS)
def test_it_comes_near_the_exact_strength(scenario: str, bounded: bool) -> None:
    model = random_linear(5, 8, bounded=bounded, seed=5)
    found = search(model.objective(), model.inputs, model.bounds, scenario, algorithm=BlackBox(QUERIES), limit=100.0)
    exact = model.exact(parse(scenario))
    assert bool((exact <= 100).all())
    ratio = found.strength / exact
    assert float(ratio.min()) > 1 - 1e-4, "nothing can be below the exact strength"
    assert float(ratio.median()) < 1.1 and float(ratio.max()) < 1.3
    assert set(found.queries.tolist()) <= {400, QUERIES} and not found.gradients.any()


def labelled(inputs: Inputs, weights: Tensor) -> Tensor:
    """Answers that give the label alone."""
    return torch.nn.functional.one_hot((inputs["a"].flatten(1) @ weights.T).argmax(1), len(weights)).float()


def test_labels_alone_are_enough_to_fail_most_samples() -> None:
    draws = torch.Generator().manual_seed(0)
    x, weights = torch.rand(8, 12, generator=draws), torch.randn(3, 12, generator=draws)

    def objective(answer: str) -> Classification:
        logits = (lambda inputs: inputs["a"] @ weights.T) if answer == "scores" else (lambda i: labelled(i, weights))
        return Classification(logits, (x @ weights.T).argmax(1))

    bounds = {"a": Range(0.0, 1.0)}
    options = {"limit": 8.0, "algorithm": BlackBox(1000)}
    hard = search(objective("labels"), {"a": x}, bounds, "a@linf:0.1", **options).strength
    white = search(objective("scores"), {"a": x}, bounds, "a@linf:0.1", limit=8.0, algorithm=STANDARD).strength
    assert bool((hard >= white * 0.98).all()) and bool(hard.isfinite().all())
    assert float((hard / white).median()) < 1.6


def test_edits_are_searched_too() -> None:
    draws = torch.Generator().manual_seed(0)
    letters = torch.randint(4, (6, 5), generator=draws)
    x, weights = torch.nn.functional.one_hot(letters, 4).float(), torch.randn(3, 20, generator=draws)

    def logits(inputs: Inputs) -> Tensor:
        return inputs["t"].flatten(1) @ weights.T

    objective = Classification(logits, logits({"t": x}).argmax(1))
    found = [
        search(objective, {"t": x}, {"t": Range(0.0, 1.0)}, "t@tokens:1", limit=5.0, algorithm=each).strength
        for each in (BlackBox(QUERIES), STANDARD)
    ]
    assert torch.equal(*found), "on a bag of letters, both meet the exact number of changes"


def test_a_sample_does_not_depend_on_its_batch() -> None:
    model = random_linear(5, 8, bounded=True, seed=5)
    names = [f"s{row}" for row in range(8)]
    whole = search(
        model.objective(),
        model.inputs,
        model.bounds,
        NORMS[-1],
        algorithm=BlackBox(200),
        limit=100.0,
        samples=names,
    )
    rows = torch.tensor([6, 1, 3])
    part = search(
        model.objective().take(rows),
        {name: x[rows] for name, x in model.inputs.items()},
        model.bounds,
        NORMS[-1],
        algorithm=BlackBox(200),
        limit=100.0,
        samples=[names[row] for row in rows.tolist()],
    )
    torch.testing.assert_close(part.strength, whole.strength[rows], rtol=1e-3, atol=0)


def test_a_model_that_answers_nan_is_refused() -> None:
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))

    def logits(inputs: Inputs) -> Tensor:
        clean = torch.tensor([[1.0, 0.0]]).expand(4, 2)
        return torch.where((inputs["a"] == x).all(1)[:, None], clean, torch.nan)

    objective = Classification(logits, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ModelBroke):
        search(objective, {"a": x}, {"a": Range(0.0, 1.0)}, "a@linf:0.1", algorithm=BlackBox(20))


def test_an_edit_of_a_whole_batch_is_refused() -> None:
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    objective = Classification(lambda inputs: inputs["a"].flatten(2).mean(2), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(BadInput, match="needs gradients: leave it out, or name another search"):
        search(objective, {"a": x}, {"a": Range(0.0, 1.0)}, "a@universal:0.1", algorithm=BlackBox(20))
