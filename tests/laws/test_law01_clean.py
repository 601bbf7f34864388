"""Law 1: strength 0 and dropout rate 0 are the clean model, bit for bit; a rate is the fraction
missing.
"""

import pytest
import torch

from attacks.pgd import pgd
from attacks.region import Region
from harness.engine.loading import Loaded
from harness.engine.objective import TaskObjective
from harness.engine.sweep import sweep_rows
from harness.references.registry import names
from harness.schedules import Gap, Schedule, parse
from harness.tasks import Task

NAMES = ("image", "audio", "text")
SAMPLES = tuple(f"sample-{number}" for number in range(3000))


def schedule(name: str, rate: float) -> Schedule | Gap:
    named = {"fixed": "fixed(audio)", "imbalanced": "imbalanced(image:1+audio:0.5)"}
    return parse(f"{named.get(name, name)}:{rate}", NAMES)


def missing(digits: Task, name: str, rate: float) -> list[float]:
    """The fraction of many samples in which each modality is missing."""
    asked = schedule(name, rate)
    assert isinstance(asked, Schedule)
    return (1 - asked.present(digits, SAMPLES, rate, 0, 0).double().mean(0)).tolist()


def test_strength_zero_is_clean(system: Loaded, digits: Task) -> None:
    batch = digits.splits["test"].take(range(8))
    present = torch.ones(8, 3, dtype=torch.bool)
    objective = TaskObjective(system.module, digits, batch.targets, present, {})
    region = Region.of(batch.inputs, digits.bounds(batch), "image@linf:1.6 + audio@linf:0.005 + text@linf:0.1")
    attacked = region.complete(pgd(objective, region, 0.0, steps=3).inputs)
    clean = system.module(batch.inputs, None)
    assert torch.equal(objective.outputs(attacked), clean)
    assert torch.equal(objective.outputs(batch.inputs), clean)


@pytest.mark.parametrize("name", names("schedule"))
def test_rate_zero_is_clean(system: Loaded, digits: Task, name: str) -> None:
    batch = digits.splits["test"].take(range(12))
    scores = digits.problem.score(system.module(batch.inputs, None), batch.targets).tolist()
    rows = list(sweep_rows(system.module, digits, batch, [schedule(name, 0.0)], repeats=2, seed=0))
    assert [row["score"] for row in rows] == scores * 2
    assert {row["present"] for row in rows} == {"111"}


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9, 1.0])
def test_rate_is_the_fraction_missing(digits: Task, rate: float) -> None:
    assert missing(digits, "mcar", rate) == pytest.approx([rate] * 3, abs=0.03)
    assert missing(digits, "fixed", rate) == pytest.approx([0.0, rate, 0.0], abs=0.03)


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_keep_one_keeps_one(digits: Task, rate: float) -> None:
    asked = schedule("mcar-keep-one", rate)
    assert isinstance(asked, Schedule)
    present = asked.present(digits, SAMPLES, rate, 0, 0)
    assert bool(present.any(1).all())
    expected = rate - rate**3 / 3
    assert 1 - present.double().mean().item() == pytest.approx(expected, abs=0.02)
