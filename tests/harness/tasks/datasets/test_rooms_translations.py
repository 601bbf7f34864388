"""Rooms as translations: the pictures of `rooms` without noise, and features that stay the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attacks.errors import BadInput
from harness.engine.loading import load_task
from harness.tasks import Images, Task
from harness.tasks.datasets.rooms import extractor, rooms
from harness.tasks.datasets.rooms.extractor import AT_ONCE, WEIGHTS, RoomFeatures
from harness.tasks.datasets.rooms.plan import DOOR, FLOOR
from harness.tasks.datasets.rooms.sensors import labelled
from harness.tasks.datasets.rooms.translations import painted
from harness.tasks.problems.distances import fid, floor, kid

NAMES = ("rooms-shade-texture", "rooms-depth-normal")


@pytest.fixture(scope="module", params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(request.param)


def test_its_rooms_are_those_of_rooms_in_the_same_order(task: Task) -> None:
    _, seen = painted("val")
    val, before = task.splits["val"], rooms().splits["val"]
    assert torch.equal(torch.tensor(labelled(seen)), before.targets)
    assert val.groups == before.groups
    assert torch.equal(val.targets, torch.tensor(seen.rgb))
    for name in task.names:
        assert torch.equal(val.inputs[name], torch.tensor(getattr(seen, name)))
    assert [len(task.splits[split]) for split in ("train", "val", "test")] == [1_400, 200, 400]


def test_features_do_not_depend_on_the_other_images() -> None:
    images = torch.rand(2 * AT_ONCE + 3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    features, found = RoomFeatures(), RoomFeatures()(images)
    assert found.shape == (len(images), features.width)
    assert found.dtype == torch.float32
    for rows in (slice(0, 1), slice(5, 9), slice(AT_ONCE - 1, AT_ONCE + 2)):
        assert torch.equal(features(images[rows]), found[rows])
    with torch.autocast("cpu"):
        assert torch.equal(features(images), found)


def test_the_first_use_leaves_the_random_state_alone() -> None:
    extractor._trunk.cache_clear()
    before = torch.get_rng_state()
    RoomFeatures()(torch.zeros(1, 3, 48, 48))
    assert torch.equal(before, torch.get_rng_state())


def test_other_weights_are_another_task_and_changed_ones_are_refused(
    task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert isinstance(task.problem, Images)
    other = replace(task, problem=replace(task.problem, extractor=RoomFeatures(weights="others")))
    assert other.definition_hash != task.definition_hash
    changed = tmp_path_factory.mktemp("weights") / WEIGHTS.name
    changed.write_bytes(WEIGHTS.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr(extractor, "WEIGHTS", changed)
    extractor._trunk.cache_clear()
    with pytest.raises(BadInput, match="has changed, and FID and KID depend on it: install"):
        RoomFeatures()(torch.zeros(1, 3, 48, 48))


def test_features_tell_rooms_from_what_is_no_room(task: Task) -> None:
    """The distances of pictures in grey, of blurred ones and of noisy ones are far above the
    floor.
    """
    real = task.splits["test"].targets
    features, rng = RoomFeatures(), torch.Generator().manual_seed(0)
    worse = {
        "grey": real.mean(1, keepdim=True).expand(-1, 3, -1, -1),
        "blurred": torch.nn.functional.avg_pool2d(real, 5, 1, 2),
        "noisy": (real + 0.1 * torch.randn(real.shape, generator=rng)).clamp(0, 1),
    }
    for distance in (kid, fid):
        least = abs(floor(distance, features(real)))
        assert all(distance(features(each), features(real)) > 3 * least for each in worse.values())


def test_the_weights_are_light() -> None:
    assert WEIGHTS.stat().st_size < 50_000


def test_what_a_thing_is_tells_most_of_its_colour() -> None:
    _, seen = painted("val")
    albedo, mask = torch.tensor(seen.rgb / seen.shade).movedim(1, -1), torch.tensor(seen.mask)
    means = {label: albedo[mask == label].mean(0) for label in (FLOOR, DOOR)}
    apart = (means[FLOOR] - means[DOOR]).abs().mean()
    assert all(float((albedo[mask == label] - mean).abs().mean()) < apart for label, mean in means.items())
