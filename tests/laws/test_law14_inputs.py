"""Law 14: the same content gives the same tensors; nothing stands on two sides of a split; equal
content is flagged.

Formats have their contracts in tests/harness/tasks; these tests hold for every registered task.
"""

from itertools import combinations

import pytest

from harness.engine.loading import load_task
from harness.references.registry import names
from harness.tasks import Task
from harness.tasks.axes import check_axes
from harness.tasks.files.dataroot import NoData


@pytest.fixture(scope="module", params=names("task"))
def task(request: pytest.FixtureRequest) -> Task:
    try:
        return load_task(request.param)
    except NoData as error:
        pytest.skip(str(error))


def test_no_id_and_no_source_is_on_two_sides(task: Task) -> None:
    for one, other in combinations(task.splits.values(), 2):
        assert not set(one.samples) & set(other.samples)
        assert not set(one.sources) & set(other.sources)


def test_no_test_sample_has_the_inputs_of_another(task: Task) -> None:
    assert task.notes == task.note


def test_every_modality_has_the_axes_of_its_kind(task: Task) -> None:
    for modality in task.modalities:
        check_axes(modality.name, modality.kind, modality.shape)
