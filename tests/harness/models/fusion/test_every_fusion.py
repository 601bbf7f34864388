"""Every fusion, as it is built: any kinds and number of modalities, and nothing from a missing
one.
"""

import io

import pytest
import torch
from rich.console import Console

from attacks.errors import BadInput
from harness.engine.loading import build_model
from harness.engine.objective import TaskObjective
from harness.models.fused import Fused
from harness.models.recipe import Supervised
from harness.references.registry import MODALITY, names
from harness.tasks import Task
from harness.training.train import Training, fit

SHAPES = {"photo": (3, 33, 18), "scan": (5, 7), "sound": (1000,), "letters": (6, 9), "vector": (7,), "series": (4, 3)}
KINDS = {
    "photo": "image",
    "scan": "image",
    "sound": "audio",
    "letters": "text",
    "vector": "features",
    "series": "features",
}


def task_of(*chosen: str, count: int = 80) -> Task:
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.rand(count, *SHAPES[name], generator=generator) for name in chosen}
    return Task.from_arrays(
        inputs, torch.arange(count) % 3, kinds={name: KINDS[name] for name in chosen}, absent=dict.fromkeys(chosen, 0.5)
    )


def _reads_any_kind(name: str) -> bool:
    """Others refuse a task of many kinds."""
    try:
        build_model(name, task_of(*SHAPES))
    except BadInput:
        return False
    return True


FUSIONS = [
    name
    for name, place in names("model").items()
    if place.startswith("harness.models.fusion.") and MODALITY not in name and _reads_any_kind(name)
]


@pytest.fixture(scope="module")
def task() -> Task:
    return task_of(*SHAPES)


@pytest.fixture(scope="module", params=FUSIONS)
def fusion(request: pytest.FixtureRequest, task: Task) -> Fused:
    torch.manual_seed(0)
    module = build_model(request.param, task).eval()
    assert isinstance(module, Fused)
    return module


def test_nothing_from_what_is_missing(fusion: Fused, task: Task) -> None:
    batch = task.splits["train"]
    rows, others = batch.take(range(8)).inputs, batch.take(range(8, 16)).inputs
    for column, name in enumerate(task.names):
        present = torch.rand(8, len(task.names), generator=torch.Generator().manual_seed(column)) < 0.5
        present[:, column] = False
        assert torch.equal(fusion(rows, present), fusion({**rows, name: others[name]}, present)), name
        assert not torch.equal(fusion(rows, None), fusion({**rows, name: others[name]}, None)), name


def test_nothing_at_all_is_answered_finitely_and_alike(fusion: Fused, task: Task) -> None:
    outputs = fusion(task.splits["train"].take(range(8)).inputs, torch.zeros(8, len(task.names), dtype=torch.bool))
    assert bool(outputs.isfinite().all()) and torch.equal(outputs, outputs[:1].expand(8, -1))


def test_all_present_is_none_missing(fusion: Fused, task: Task) -> None:
    inputs = task.splits["train"].take(range(8)).inputs
    assert torch.equal(fusion(inputs, torch.ones(8, len(task.names), dtype=torch.bool)), fusion(inputs, None))


def test_halves_are_the_whole(fusion: Fused, task: Task) -> None:
    inputs = task.splits["train"].take(range(8)).inputs
    present = torch.rand(8, len(task.names), generator=torch.Generator().manual_seed(0)) < 0.5
    assert torch.equal(
        fusion.fuse({name: fusion.encode(name, inputs[name]) for name in fusion.encoded}, present),
        fusion(inputs, present),
    )


def test_every_value_can_be_attacked(fusion: Fused, task: Task) -> None:
    batch = task.splits["train"].take(range(8))
    inputs = {name: x.clone().requires_grad_() for name, x in batch.inputs.items()}
    gradients = torch.autograd.grad(task.problem.loss(fusion(inputs, None), batch.targets).sum(), list(inputs.values()))
    assert all(bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in gradients)


@pytest.mark.parametrize("name", FUSIONS)
def test_a_sample_is_answered_alone(name: str, digits: Task) -> None:
    torch.manual_seed(0)
    fusion, batch = build_model(name, digits).eval(), digits.splits["test"].take(range(32))
    present = torch.rand(32, 3, generator=torch.Generator().manual_seed(0)) < 0.7
    objective = TaskObjective(fusion, digits, batch.targets, present, {})
    whole = objective.outputs(batch.inputs)
    for rows in (torch.arange(1), torch.arange(5, 10), torch.arange(31, -1, -1)):
        assert torch.equal(objective.take(rows).outputs(batch.take(rows).inputs), whole[rows])


@pytest.mark.parametrize("name", FUSIONS)
def test_two_modalities_train(name: str) -> None:
    task = task_of("vector", "letters", count=40)
    before = build_model(name, task).state_dict()
    model, score = fit(
        Training("arrays", name, epochs=2), task, Supervised(), torch.device("cpu"), Console(file=io.StringIO())
    )
    assert 0 <= score <= 1
    assert all(
        not torch.equal(value, before[key]) for key, value in model.state_dict().items() if key.endswith("weight")
    )
