"""An evaluation that names no task is on the task that the weights of its models are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import harness
from attacks.errors import BadInput
from harness.engine.weights import tasks_of, with_task
from harness.models import checkpoint
from harness.run.config import resolve
from tests.tiny import tiny

OWN = {"search": "none", "schedule": ["none"], "trust": False, "samples": 2}
TRAVEL = sorted(file for file in checkpoint.COMMITTED.glob("*/*.safetensors"))


def chosen(**flags: Any) -> str:
    return with_task(resolve(None, flags)).task


@pytest.mark.parametrize("weights", TRAVEL, ids=[f"{file.parent.name}-{file.stem}" for file in TRAVEL])
def test_weights_name_their_task(weights: Path) -> None:
    assert weights.parent.name in tasks_of(weights.stem)
    assert chosen(model=[str(weights)]) == weights.parent.name  # by the card


def test_a_task_that_is_named_stays() -> None:
    assert chosen(task="digits", model=["segmenter"]) == "digits"


@pytest.mark.parametrize("models", [None, ["concat"], ["my.py:net"], ["my.py:net", "concat"]], ids=str)
def test_the_usual_task_is_digits(models: list[str] | None) -> None:
    assert chosen(model=models) == "digits"


def test_users_models_decide_nothing() -> None:
    assert chosen(model=["my.py:net", "segmenter"]) == "rooms"


def test_weights_for_different_tasks_are_refused() -> None:
    with pytest.raises(BadInput, match=r"different tasks \('segmenter' for rooms; 'concat' for digits\)"):
        chosen(model=["segmenter", "concat"])


def test_the_error_names_the_task_that_has_weights() -> None:
    with pytest.raises(BadInput, match="no weights for task 'tiny': evaluate it on --task digits, or train it"):
        harness.evaluate(tiny(), "concat", **OWN)


def test_python_chooses_too() -> None:
    run = harness.evaluate(None, "segmenter", **OWN)
    assert run.directory.describe().identity.config.task == "rooms"
