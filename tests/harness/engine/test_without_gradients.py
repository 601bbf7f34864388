"""A model without gradients is searched by queries: by itself, with a word, and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
from attacks.errors import BadInput
from harness.engine import searches
from harness.reporting.report import as_markdown
from harness.run.directory import RunDirectory
from harness.tasks import Task
from tests.commandline import run as run_command

QUERIES = 300
SCENARIOS = ["a@linf:0.5 + b@l2:0.5"]
OPTIONS: dict[str, Any] = {"scenarios": SCENARIOS, "search": "fast", "schedule": "none"}


class Linear(torch.nn.Module):
    """A linear model; its twin has no gradients."""

    def __init__(self, gradients: bool) -> None:
        super().__init__()
        self.gradients = gradients

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        evidence = inputs["a"].sum(1) + 0.5 * inputs["b"].sum(1)
        answer = torch.stack([-evidence, evidence], 1)
        return answer if self.gradients else answer.detach()


def some_task() -> Task:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 2
    side = 2.0 * labels[:, None] - 1
    inputs = {name: side + 0.5 * torch.randn(24, size, generator=draws) for name, size in (("a", 4), ("b", 3))}
    return Task.from_arrays(inputs, labels, splits="test", name="some")


@pytest.fixture(autouse=True)
def few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "BLACKBOX", {"fast": QUERIES})


def test_the_twin_without_gradients_gets_nearly_the_same_curve() -> None:
    run = harness.evaluate(some_task(), {"white": Linear(True), "twin": Linear(False)}, trust=False, **OPTIONS)
    ledger = run.ledger.sort_values(["scenario", "sample"])
    white, twin = (ledger[ledger.model == name] for name in ("white", "twin"))
    found = ((twin.strength > 0) & np.isfinite(twin.strength)).to_numpy()
    ratio = twin.strength.to_numpy()[found] / white.strength.to_numpy()[found]
    assert found.sum() > 12 and (ratio > 0.98).all() and (ratio < 1.15).all()
    assert white.queries.isna().all() and (white.gradients[white.strength > 0] > 0).all()
    assert set(twin.queries[twin.strength > 0]) <= {240, QUERIES} and (twin.gradients == 0).all()


def test_it_is_named_resumed_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path / "run")
    for _ in range(2):
        run = harness.evaluate(some_task(), {"twin": Linear(False)}, out=out, **OPTIONS)
    note = "no gradients: twin, searched by blackbox?queries=300 in place of fast"
    assert note in RunDirectory(out).describe().note.lower() and "gradients: twin" in as_markdown(RunDirectory(out))
    assert run_command(monkeypatch, "verify", out, "--files") == 0
    flags = set(run.flags["check"])
    assert not flags & {"gradient", "saturated", "quantised", "unlimited", "rising"}


def test_a_named_search_takes_its_options_and_no_others() -> None:
    options = {**OPTIONS, "trust": False}
    run = harness.evaluate(some_task(), {"white": Linear(True)}, **{**options, "search": "blackbox?queries=50"})
    assert set(run.ledger.queries.dropna()) <= {40, 50}
    with pytest.raises(BadInput, match="search 'fast' has no options: leave 'steps=3' out"):
        harness.evaluate(some_task(), {"white": Linear(True)}, **{**options, "search": "fast?steps=3"})
    with pytest.raises(BadInput, match="querys"):
        harness.evaluate(some_task(), {"white": Linear(True)}, **{**options, "search": "blackbox?querys=3"})
    with pytest.raises(BadInput, match="must be from 1 to 200,000, not 0"):
        harness.evaluate(some_task(), {"white": Linear(True)}, **{**options, "search": "blackbox?queries=0"})


class Remote(Linear):
    """Hands its inputs to NumPy."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        table = inputs["a"].numpy().sum(1) + 0.5 * inputs["b"].numpy().sum(1)
        return torch.from_numpy(np.stack([-table, table], 1))


def test_a_model_behind_numpy_is_searched_too() -> None:
    run = harness.evaluate(some_task(), {"remote": Remote(False)}, trust=False, **OPTIONS)
    assert set(run.ledger.status) == {"ok"} and run.ledger.queries.notna().any()


class HalfFlat(Linear):
    """A linear model without a gradient in one modality, and an input that it ignores."""

    def __init__(self, flat: str) -> None:
        super().__init__(True)
        self.flat = flat

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        return super().forward({**inputs, self.flat: inputs[self.flat].detach()})


@pytest.mark.parametrize("flat", ["a", "b"])
def test_only_scenarios_that_attack_a_flat_modality_cost_queries(flat: str) -> None:
    models = {"white": Linear(True), "half": HalfFlat(flat), "twin": Linear(False)}
    run = harness.evaluate(some_task(), models, trust=False, **OPTIONS)
    ledger = run.ledger.sort_values(["scenario", "sample"])
    white, half, twin = (ledger[ledger.model == name] for name in models)
    attacked = half.attacked.str.contains(flat) & (half.strength > 0)
    assert half.queries[attacked].notna().all() and half.queries[~half.attacked.str.contains(flat)].isna().all()
    assert (half.gradients[half.strength > 0] > 0).all()
    found = ((half.strength > 0) & np.isfinite(half.strength)).to_numpy()
    ratio = half.strength.to_numpy()[found] / white.strength.to_numpy()[found]
    assert found.sum() > 12 and (ratio > 0.98).all() and (ratio < 1.15).all()
    words = f"half, searched by fast, then blackbox?queries=300 where {flat} is attacked, in place of fast"
    assert words in run.directory.describe().note
    assert twin.gradients.eq(0).all()


class Deaf(Linear):
    """Reads only one modality."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        return super().forward({"a": inputs["a"], "b": torch.zeros_like(inputs["b"])})


def test_a_modality_that_is_not_used_is_not_flat() -> None:
    run = harness.evaluate(some_task(), {"deaf": Deaf(True)}, trust=False, **OPTIONS)
    assert run.ledger.queries.isna().all()


class Unrecorded(Linear):
    """Answers, and raises where gradients are recorded."""

    def __init__(self, error: Exception) -> None:
        super().__init__(False)
        self.error = error

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        if torch.is_grad_enabled() and inputs["a"].requires_grad:
            raise self.error
        return super().forward(inputs)


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()


class Forward(Linear):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        seen: torch.Tensor = NoBackward.apply(super().forward(inputs))  # type: ignore[no-untyped-call]
        return seen


class Leaking(Linear):
    """Its gradient is too small for float32, and leads away."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        plain = super().forward({name: x.detach() for name, x in inputs.items()})
        noise = 1e-9 * (inputs["a"].sum(1) + inputs["b"].sum(1))
        return plain + torch.stack([noise, -noise], 1)


@pytest.mark.parametrize(
    "model",
    [
        Unrecorded(BufferError("Can't export tensors that require gradient, use tensor.detach()")),
        Unrecorded(RuntimeError("Cowardly refusing to serialize non-leaf tensor which requires_grad")),
        Forward(True),
        Leaking(True),
    ],
    ids=["buffer", "remote", "no-backward", "leaking"],
)
def test_a_model_whose_gradients_cannot_be_followed_is_noticed(model: torch.nn.Module) -> None:
    run = harness.evaluate(some_task(), {"model": model}, trust=False, **{**OPTIONS, "samples": 8})
    assert set(run.ledger.status) == {"ok"} and run.ledger.queries[run.ledger.strength > 0].notna().all()


class Labels(torch.nn.Module):
    """Gives its decision alone."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        evidence = inputs["image"].mean(1) - 0.5
        return torch.nn.functional.one_hot((evidence > 0).long(), 2).float()


@pytest.mark.parametrize("size", [2, 16, 40])
@pytest.mark.parametrize("limit", [2.0, 8.0])
def test_labels_alone_lead_to_failures_in_small_inputs(size: int, limit: float) -> None:
    labels = torch.arange(16) % 2
    draws = torch.rand(16, size, generator=torch.Generator().manual_seed(0))
    image = 0.5 + 0.15 * (2.0 * labels[:, None] - 1) + 0.1 * (draws - draws.mean(1, keepdim=True))
    task = Task.from_arrays({"image": image}, labels, splits="test", name="few", ranges={"image": (0, 1)})
    options = {**OPTIONS, "scenarios": ["image@linf:0.3"], "trust": False, "limit": limit}
    run = harness.evaluate(task, {"labels": Labels()}, **options)
    assert run.ledger.strength.between(0.499, 2).all() and run.ledger.strength.median() < 0.75
