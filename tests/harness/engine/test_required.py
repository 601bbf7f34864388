"""Modalities that a task requires: nothing asks a model without them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.tasks import Task

SAMPLES = 16


def required(splits: Any = "test", names: tuple[str, ...] = ("text",)) -> Task:
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(SAMPLES, 2, generator=generator) for name in ("image", "text", "sound")}
    targets = (sum(inputs.values()).sum(1) > 0).long()
    return Task.from_arrays(inputs, targets, splits=splits, required=names)


class Strict(nn.Module):
    """It raises where the text is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs: dict[str, Tensor], present: Tensor) -> Tensor:
        if not present[:, 1].all():
            raise ValueError("called without the text")
        total = self.weight * sum(x.sum(1) for x in inputs.values())
        return torch.stack([-total, total], 1)


def test_no_condition_of_a_run_takes_it_away() -> None:
    """Not the sweep, the fingerprint, the checks, Shapley values or attributions."""
    run = harness.evaluate(
        required(),
        {"strict": Strict()},
        scenarios=["image@linf:0.1", "image@linf:0.1 + sound@missing"],
        schedules=["mcar:0,0.5,1", "mcar-keep-one:1", "exclusive:1"],
        attributions=2,
        search="fast",
    )
    assert run.status == "complete" and not run.errors
    assert all(bits[1] == "1" for bits in run.sweep["present"])
    missing = set(run.sweep.query("kind == 'schedule'")["name"])
    assert "fixed(text)" not in missing and {"fixed(image)", "fixed(sound)", "fixed(image+sound)"} <= missing


def test_shapley_values_are_of_the_others() -> None:
    from harness.analysis.measures import contributions
    from harness.run.directory import RunDirectory

    run = harness.evaluate(required(), {"strict": Strict()}, search="none", trust=False)
    sweep = RunDirectory(run.url).table("sweep")
    found = contributions(sweep, ("image", "text", "sound"))["strict"]
    assert sorted(found) == ["image", "sound"]
    each = run.sweep.query("kind == 'schedule'").groupby(["present", "sample"])["score"].mean()
    scores = each.groupby("present").mean()
    assert sum(each.value for each in found.values()) == pytest.approx(scores["111"] - scores["010"])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"scenarios": ["text@missing"]}, "scenario text@missing takes text away, which task 'arrays' requires"),
        ({"schedules": ["fixed(text):1"]}, r"schedule fixed\(text\) takes text away, .*: name image or sound"),
        ({"schedules": ["imbalanced(text:0.5):1"]}, "takes text away"),
    ],
)
def test_what_would_take_it_away_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        harness.evaluate(required(), {"strict": Strict()}, **options)


def test_it_belongs_to_the_definition_and_has_to_be_a_modality() -> None:
    assert required().definition_hash != required(names=()).definition_hash
    with pytest.raises(BadInput, match="unknown modality 'smell'"):
        required(names=("smell",))


def test_dropout_in_training_keeps_it() -> None:
    model = harness.train(
        required(["train", "val", "test", "train"] * 4), "concat", recipe="modality-dropout", epochs=1
    )
    assert isinstance(model, nn.Module)
