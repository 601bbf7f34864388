"""Inputs that an attack cannot work on are refused in one sentence."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from attacks.apgd import apgd
from attacks.errors import BadInput
from attacks.fgsm import fgsm
from attacks.objective import Classification, Verdict
from attacks.pgd import pgd
from attacks.region import Inputs, Range, Region
from attacks.search import search

X = 0.5 + 0.1 * torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
UNIT = {"x": Range(0, 1)}


def logits(inputs: Inputs) -> torch.Tensor:
    return inputs["x"] @ WEIGHT.to(inputs["x"].dtype).T


RIGHT = Classification(logits, logits({"x": X}).argmax(1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bounds": {"y": Range(0, 1)}}, "unknown modality 'y' in the bounds"),
        (
            {"bounds": {"x": Range(torch.zeros(5), torch.ones(5))}},
            r"ends of shape \(5,\) and \(5,\) does not fit values of shape \(8, 6\)",
        ),
        ({"bounds": {"x": Range(1, 0)}}, "low must not lie above high"),
        ({"inputs": {"x": X, "z": X[:3]}}, "unequal length: x has 8, z has 3"),
        (
            {"inputs": {"x": (255 * X).byte()}, "bounds": {}},
            r"holds torch.uint8, which has no gradients: convert it with .float\(\)",
        ),
        ({"samples": ["a"]}, "1 sample names for 8"),
        ({"limit": 0.0}, "must be positive"),
        ({"objective": Classification(logits, torch.zeros(3, dtype=torch.int64))}, r"labels of shape \(3,\)"),
        ({"objective": Classification(logits, torch.zeros(8))}, "labels int64"),
        (
            {"objective": Classification(lambda i: logits(i)[:, :1], torch.zeros(8, dtype=torch.int64))},
            "two classes or more",
        ),
    ],
)
def test_refused(change: dict[str, Any], said: str) -> None:
    arguments = {"objective": RIGHT, "inputs": {"x": X}, "bounds": UNIT, "scenario": "x@linf:0.1", **change}
    with pytest.raises(BadInput, match=said):
        search(**arguments)


def test_double_precision_is_searched() -> None:
    single = search(RIGHT, {"x": X}, UNIT, "x@linf:0.1").strength
    double = search(RIGHT, {"x": X.double()}, UNIT, "x@linf:0.1").strength
    assert torch.allclose(single, double, rtol=0.02)


def test_inference_mode_is_refused_and_its_tensors_are_not() -> None:
    with torch.inference_mode(), pytest.raises(BadInput, match="inference_mode"):
        search(RIGHT, {"x": X}, UNIT, "x@linf:0.1")
    with torch.inference_mode():
        made = X + 0
    assert torch.equal(
        search(RIGHT, {"x": made}, UNIT, "x@linf:0.1").strength, search(RIGHT, {"x": X}, UNIT, "x@linf:0.1").strength
    )


class Off:
    """Fails where the sum is off by more than 1: it has no classes, and no cross-entropy."""

    def __call__(self, inputs: Inputs) -> Verdict:
        off = (inputs["x"] - X[: len(inputs["x"])]).sum(1).abs() - 1
        return Verdict({"off": (inputs["x"].sum(1) - 3), "margin": off}, off >= 0)

    def take(self, rows: torch.Tensor) -> "Off":
        return self

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> "Off":
        return self


@pytest.mark.parametrize("attack", [pgd, apgd, fgsm])
def test_an_objective_of_its_own_is_raised(attack: Callable[..., Any]) -> None:
    assert attack(Off(), Region.of({"x": X}, {}, "x@linf:0.3"), 1.0).fails.all()
