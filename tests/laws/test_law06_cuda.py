"""Laws 1, 4, 6, 7 and 9 on a GPU, where kernels round by the shape of a batch.

Skipped without a GPU, as in CI.
"""

import io
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from attacks.objective import Classification, preserved
from attacks.presets import STANDARD
from attacks.scenario import parse
from attacks.search import search
from benchmarks.oracles.linear import Linear, random_linear
from harness.commands.evaluate import evaluate
from harness.commands.verify import recheck
from harness.engine.loading import Loaded
from harness.run.config import resolve
from harness.run.directory import RunDirectory
from harness.tasks import Task
from harness.training.train import Training, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

QUIET = Console(file=io.StringIO())
SAMPLES = 48
EDITS = ("image@patch:0.1", "audio@shift:50", "image@dead:3", "text@tokens:1 + image@l0:2")


def run(out: Path, **flags: Any) -> dict[tuple[str, str, str], float]:
    """Critical strengths by model, sample and scenario."""
    assert evaluate(resolve(None, {"out": str(out), "samples": SAMPLES, "trust": False, **flags}), QUIET) == 0
    rows = RunDirectory(str(out)).table("ledger").to_pylist()
    assert {row["status"] for row in rows} == {"ok"}
    return {(row["model"], row["sample"], row["scenario"]): row["strength"] for row in rows}


def share_within(one: dict[Any, float], other: dict[Any, float], tolerance: float) -> float:
    assert one.keys() == other.keys()
    return sum(one[key] == other[key] or abs(one[key] - other[key]) <= tolerance * other[key] for key in one) / len(one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Any, float]]:
    """The default models, all samples of it in one batch, every witness kept."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, run(out, device="cuda", batch_size=SAMPLES, witnesses="all")


def test_batches_move_one_percent_of_rows_at_most(elsewhere: Path, whole: tuple[Path, dict[Any, float]]) -> None:
    assert share_within(run(elsewhere / "run", device="cuda", batch_size=7), whole[1], 0.01) >= 0.99


def test_the_card_finds_what_the_cpu_finds(elsewhere: Path, whole: tuple[Path, dict[Any, float]]) -> None:
    cpu = run(elsewhere / "run", device="cpu", batch_size=SAMPLES)
    assert share_within(whole[1], cpu, 0.02) >= 0.95


def test_witnesses_hold(whole: tuple[Path, dict[Any, float]]) -> None:
    claims = list(recheck(RunDirectory(str(whole[0]))))
    assert len(claims) > SAMPLES
    assert [claim for claim, holds in claims if not holds] == []


def test_edits_attacks_corruptions_and_attributions(elsewhere: Path) -> None:
    flags: dict[str, Any] = {"samples": 8, "search": "fast", "model": ("concat",), "device": "cuda", "trust": True}
    assert run(elsewhere / "edits", scenario=EDITS, corruption=("image@noise:0,3",), attributions=2, **flags)
    assert run(
        elsewhere / "bf16",
        attack=("pgd", "torchattacks:PGD"),
        precision="bf16",
        scenario=("image@linf:1 + audio@linf:0.01",),
        **flags,
    )


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_exact_strength(norm: str) -> None:
    cpu = random_linear(4, 16, bounded=True)
    weights, inputs = ({name: x.cuda() for name, x in each.items()} for each in (cpu.weights, cpu.inputs))
    card = Linear(weights, inputs, cpu.bounds)
    scenario = parse(f"a@{norm}:0.05 + b@{norm}:0.1")
    found = search(card.objective(), card.inputs, card.bounds, scenario, algorithm=STANDARD, limit=100.0).strength.cpu()
    exact = cpu.exact(scenario)
    within = exact <= 100
    ratio = found[within] / exact[within]
    assert bool(within.any()) and float(ratio.min()) > 1 - 1e-4 and float(ratio.max()) < 1.02


def test_models_answer_as_on_the_cpu(system: Loaded, digits: Task) -> None:
    batch = digits.splits["test"].take(range(64))
    on_card = deepcopy(system.module).cuda()
    with torch.no_grad():
        for absent in (None, 0):
            present = torch.ones(64, 3, dtype=torch.bool)
            if absent is not None:
                present[::2, absent] = False
            there, here = (
                on_card(batch.to(torch.device("cuda")).inputs, present.cuda()).cpu(),
                system.module(batch.inputs, present),
            )
            torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)
    again = on_card(batch.to(torch.device("cuda")).inputs, torch.ones(64, 3, dtype=torch.bool, device="cuda"))
    assert torch.equal(
        again, on_card(batch.to(torch.device("cuda")).inputs, torch.ones(64, 3, dtype=torch.bool, device="cuda"))
    )


def test_no_trace() -> None:
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 3)).cuda().train()
    inputs = {"x": torch.randn(5, 6, device="cuda")}
    states = torch.random.get_rng_state(), torch.cuda.get_rng_state()
    kept = {name: value.clone() for name, value in model.state_dict().items()}

    def forward(given: dict[str, torch.Tensor]) -> torch.Tensor:
        torch.rand(1, device="cuda")  # a model that draws from the card's state
        return model(given["x"])  # type: ignore[no-any-return]

    with preserved(model):
        search(Classification(forward, forward(inputs).argmax(1)), inputs, {}, "x@linf:0.1", algorithm=STANDARD)
    assert torch.equal(states[0], torch.random.get_rng_state()) and torch.equal(states[1], torch.cuda.get_rng_state())
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items()) and model[2].training


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_recurrent_models_can_be_attacked(kind: type[nn.GRU] | type[nn.LSTM]) -> None:
    """cuDNN would refuse: it differentiates recurrent layers in training mode only."""
    layer, last = kind(6, 8, batch_first=True).cuda(), nn.Linear(8, 3).cuda()
    inputs = {"x": torch.rand(5, 4, 6, device="cuda")}

    def forward(given: dict[str, torch.Tensor]) -> torch.Tensor:
        return last(layer(given["x"])[0][:, -1])  # type: ignore[no-any-return]

    with preserved(layer):
        found = search(
            Classification(forward, forward(inputs).argmax(1)), inputs, {}, "x@linf:1", algorithm=STANDARD, limit=100.0
        )
    assert bool(found.strength.isfinite().all())


RECIPES = [
    ("concat", "supervised"),
    ("smil", "smil"),
    ("robust-fusion", "single-source-adversarial"),
    ("infonce", "infonce"),
]


@pytest.mark.parametrize(("model", "recipe"), RECIPES)
def test_training(elsewhere: Path, model: str, recipe: str) -> None:
    out, missing = str(elsewhere / "own.safetensors"), ("audio:0.5",) if recipe == "smil" else ()
    paths = train(
        Training("digits", model, recipe, 0, 1, out=out, train_missing=missing, train_samples=256, device="cuda"), QUIET
    )
    assert run(
        elsewhere / "run", samples=8, model=(str(paths[0]),), search="fast", device="cuda", scenario=("image@linf:1",)
    )
