"""A random model over stored draws: a sample fails when it fails in at least half of them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harness
from attacks.errors import BadInput
from harness.engine.drawn import Drawn
from harness.run.directory import RunDirectory
from harness.tasks import Segmentation, Task
from harness.tasks.batch import PLACE
from tests.commandline import run as run_command
from tests.harness.engine.noisy_model import Noisy, some_task

DRAWS, RADIUS = 16, 0.5
OPTIONS: dict[str, Any] = {"scenarios": [f"a@linf:{RADIUS}"], "search": "standard", "schedule": "none"}


@pytest.mark.parametrize("draws", [2, 5, DRAWS])
def test_the_critical_strength_is_that_of_the_draw_that_decides(draws: int) -> None:
    task = some_task()
    run = harness.evaluate(task, {"noisy": Noisy()}, draws=draws, trust=False, batch_size=8, limit=50, **OPTIONS)
    ledger = run.ledger.set_index("sample")
    batch = task.splits["test"].take(range(24))
    order = {sample: place for place, sample in enumerate(run.ledger["sample"])}
    places = torch.tensor([order[sample] % 8 for sample in batch.samples])
    model = Drawn(Noisy(), draws, 8, 0)
    evidence = model({**batch.inputs, PLACE: places})[..., 1].double()
    signed = (2 * batch.targets[:, None] - 1) * evidence
    margin = signed.sort(1).values[:, -(-draws // 2) - 1]
    exact = margin.clamp_min(0) / (RADIUS * Noisy().w.abs().sum())
    found = torch.tensor([float(ledger.strength[sample]) for sample in batch.samples], dtype=torch.float64)
    assert torch.equal(found == 0, margin <= 0)
    ratio = found[margin > 0] / exact[margin > 0]
    assert len(ratio) > 8 and bool((ratio > 1 - 1e-4).all()) and bool((ratio < 1.02).all())


def test_two_runs_agree_and_witnesses_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from tests.harness.engine.noisy_model import Noisy, some_task\ndef build(task): return Noisy()\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "--task", "mine.py:some_task", "--model", "mine.py:build", "--draws", "16", "--samples", "16"]
    words += ["--batch-size", "8", "--search", "fast", "--witnesses", "all", "--schedule", "mcar:0.5"]
    for out, more in (("one", []), ("two", ["--workers", "2"])):
        assert run_command(monkeypatch, *words, *more, "--out", out) == 0
    first, second = (harness.load(out) for out in ("one", "two"))
    for table in ("ledger", "sweep"):
        ours, theirs = (getattr(each, table).sort_values(by=list(KEYS[table])) for each in (first, second))
        assert ours.reset_index(drop=True).equals(theirs.reset_index(drop=True))
    assert not set(first.flags["check"]) & {"random", "batch"}
    assert run_command(monkeypatch, "verify", "one", "--code", "mine.py") == 0
    assert run_command(monkeypatch, *words, "--batch-size", "4", "--out", "one") == 2


KEYS = {"ledger": ("sample", "scenario"), "sweep": ("sample", "name", "level", "repeat", "present")}


def test_noise_of_a_sample_does_not_depend_on_the_others() -> None:
    model, task = Drawn(Noisy(), 4, 8, 0), some_task()
    batch = task.splits["test"].take(range(8))
    inputs = {**batch.inputs, PLACE: torch.arange(8)}
    state = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    whole = model(inputs)
    for rows in ([3], [7, 2], [2, 2, 5]):
        assert torch.equal(model({name: x[rows] for name, x in inputs.items()}), whole[rows])
    assert torch.equal(torch.random.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]


class NoisyMap(torch.nn.Module):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        return inputs["x"] + 0.3 * torch.randn_like(inputs["x"])


def test_graded_answers_are_judged_over_draws_too(tmp_path: Path) -> None:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, 4, 4, generator=draws)
    task = Task.from_arrays({"x": x}, x.argmax(1), problem=Segmentation(3, (4, 4)), splits="test", name="maps")
    options: dict[str, Any] = {"scenarios": ["x@linf:0.5"], "search": "fast", "schedule": "none", "batch_size": 4}
    run = harness.evaluate(task, {"map": NoisyMap()}, draws=4, out=str(tmp_path / "run"), **options)
    assert set(run.ledger.status) == {"ok"} and run.curves().score.is_monotonic_decreasing
    assert not set(run.flags["check"]) & {"random", "batch"}


@pytest.mark.parametrize("fault", ["noise", "raises", "nan"])
def test_a_random_model_without_draws_is_flagged_and_crashes_nothing(fault: str) -> None:
    class Random(torch.nn.Module):
        def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
            evidence = inputs["a"].sum(1)
            if fault == "noise":
                evidence = evidence + torch.randn(len(evidence))
            elif torch.rand(()) < 0.2:
                if fault == "raises":
                    raise RuntimeError("by chance")
                evidence = evidence * torch.nan
            return torch.stack([-evidence, evidence], 1)

    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "some cells of the run are errors")
        run = harness.evaluate(some_task(), {"random": Random()}, **OPTIONS)
    assert set(run.ledger.status) <= {"ok", "error"} and "random" in set(run.flags["check"])


def test_what_draws_cannot_do_is_refused() -> None:
    for draws in (1, True, "many"):
        with pytest.raises(BadInput, match="draws"):
            harness.evaluate(some_task(), {"noisy": Noisy()}, draws=draws, **OPTIONS)
    with pytest.raises(BadInput, match="needs --judge answers"):
        harness.evaluate(some_task(), {"noisy": Noisy()}, draws=2, judge="neighbours", **OPTIONS)


def test_a_run_with_draws_is_compared_by_its_data() -> None:
    runs = [
        harness.evaluate(some_task(), {"noisy": Noisy()}, draws=4, batch_size=size, trust=False, **OPTIONS)
        for size in (4, 6)
    ]
    hashes = [dict(zip(table["sample"], table["hash"], strict=True)) for table in map(samples_of, runs)]
    assert hashes[0] == hashes[1]


def samples_of(run: harness.Run) -> Any:
    return RunDirectory(run.url).table("samples").to_pandas()
