"""Types are checked at every call of the whole test run, and each worker keeps to one thread."""

import os
from collections.abc import Iterator
from pathlib import Path

from beartype import BeartypeConf
from beartype.claw import beartype_packages

CHECKS = BeartypeConf(is_pep484_tower=True)  # an int is a float, as PEP 484 and mypy have it
beartype_packages(
    ("attacks", "harness.tasks", "harness.models", "harness.corruptions", "harness.schedules", "defenses"), conf=CHECKS
)

import hypothesis
import pytest
import torch

from harness.engine.loading import Loaded, load_model, load_task
from harness.models import checkpoint
from harness.references.registry import MODALITY, names
from harness.tasks import Task
from tests.harness.engine.executors.linear_run import MINE

hypothesis.settings.register_profile("untimed", deadline=None)  # a loaded machine is slow
hypothesis.settings.load_profile("untimed")
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
CPU = torch.device("cpu")


def registered_models() -> list[str]:
    """Every registered model that has weights for the embedded task, families spelt out for it."""
    spelt = [name.replace(MODALITY, modality) for name in names("model") for modality in ("image", "audio", "text")]
    return [name for name in dict.fromkeys(spelt) if checkpoint.committed("digits", name).is_file()]


@pytest.fixture(scope="session")
def digits() -> Task:
    return load_task("digits")


@pytest.fixture(scope="session", params=registered_models())
def system(request: pytest.FixtureRequest, digits: Task) -> Loaded:
    """Each registered model with its weights for the embedded task."""
    return load_model(request.param, digits, CPU)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to stand in, with a file of models that may die, hang or raise in a worker."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIVER", str(os.getpid()))
    yield tmp_path
