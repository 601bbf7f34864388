"""Law 13: no search crashes on a random model, or gives it inputs that are NaN or infinite.

A random model may fail at strength 0 in one answer and not in the next: nothing may be divided by
such a strength.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import dropout

from attacks.objective import Classification
from attacks.region import Inputs, Range
from attacks.search import search
from harness.engine.searches import BLACKBOX, search_of

SCENARIOS = ["a@linf:0.1", "b@l2:0.5", "b@l1:0.5", "a@linf:0.1 + b@linf:0.5", "a@l1:0.5 + b@l2:0.5", "a@l0:2 + b@l2:1"]
SEARCHES = [*(set(BLACKBOX) - {"thorough"}), "blackbox?queries=50", "blackbox?queries=400"]
DRAWS = torch.Generator().manual_seed(0)
A, B = torch.randn(8, 3, generator=DRAWS), torch.randn(4, 3, generator=DRAWS)
INPUTS = {"a": torch.rand(12, 8, generator=DRAWS), "b": torch.randn(12, 4, generator=DRAWS)}


def linear(inputs: Inputs) -> Tensor:
    assert all(bool(x.isfinite().all()) for x in inputs.values())
    return inputs["a"] @ A + inputs["b"] @ B


def dropped(inputs: Inputs) -> Tensor:
    return linear({name: dropout(x, 0.5) for name, x in inputs.items()}) + linear(inputs)


def turned(inputs: Inputs) -> Tensor:
    out = linear(inputs)
    return out * (2 * torch.randint(0, 2, (len(out), 1)) - 1)


def rarely_turned(inputs: Inputs) -> Tensor:
    out = linear(inputs)
    return torch.where(torch.rand(len(out), 1) < 0.02, -out, out)


def noisy(inputs: Inputs) -> Tensor:
    out = linear(inputs)
    return out + 20 * torch.randn_like(out)


@pytest.mark.parametrize("algorithm", sorted(SEARCHES))
@pytest.mark.parametrize("model", [dropped, turned, rarely_turned, noisy])
def test_what_a_search_tries_is_finite(model: Callable[[Inputs], Tensor], algorithm: str) -> None:
    torch.manual_seed(0)
    objective = Classification(model, linear(INPUTS).argmax(1))
    for scenario in SCENARIOS:
        found = search(
            objective, INPUTS, {"a": Range(0, 1)}, scenario, algorithm=search_of(algorithm), limit=100.0
        ).strength
        assert not bool(found.isnan().any()) and bool((found >= 0).all())
