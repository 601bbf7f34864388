"""`verify` refuses every false claim, one at a time."""

import pytest
import torch

from attacks.objective import Classification
from attacks.region import Inputs, Range
from attacks.scenario import parse
from attacks.verify import verify

LABELS = torch.zeros(1, dtype=torch.int64)
CLEAN = {"a": torch.zeros(1, 3), "b": torch.zeros(1, 2)}
MODEL = Classification(lambda i: torch.stack([0.25 - i["a"].sum(1) - i["b"].sum(1), torch.zeros(1)], 1), LABELS)
BOUNDS = {"a": Range(-1.0, 1.0)}


def claim(strength: float, scenario: str = "a@linf:0.1", **moved: list[list[float]]) -> bool:
    witness: Inputs = {**CLEAN, **{name: torch.tensor(values) for name, values in moved.items()}}
    return bool(verify(MODEL, CLEAN, witness, BOUNDS, parse(scenario), torch.tensor([strength])))


def test_a_true_claim_passes() -> None:
    assert claim(1.0, a=[[0.1, 0.1, 0.1]])


@pytest.mark.parametrize(
    ("why", "strength", "moved"),
    [
        ("larger than claimed", 0.9, {"a": [[0.1, 0.1, 0.1]]}),
        ("does not fail", 1.0, {"a": [[0.1, 0.1, 0.0]]}),
        ("touches another modality", 1.0, {"a": [[0.1, 0.1, 0.1]], "b": [[1e-6, 0.0]]}),
        ("leaves the range", 20.0, {"a": [[1.1, 0.0, 0.0]]}),
        ("NaN", 1.0, {"a": [[float("nan"), 0.1, 0.1]]}),
    ],
)
def test_a_false_claim_does_not(why: str, strength: float, moved: dict[str, list[list[float]]]) -> None:
    assert not claim(strength, **moved), why


def test_each_modality_has_its_own_radius() -> None:
    """A combined ball would let one modality spend the other's budget."""
    both = "a@l2:0.1 + b@l2:0.2"
    assert claim(1.0, both, a=[[0.1, 0.0, 0.0]], b=[[0.2, 0.0]])
    assert not claim(1.0, both, a=[[0.2, 0.0, 0.0]], b=[[0.1, 0.0]])
