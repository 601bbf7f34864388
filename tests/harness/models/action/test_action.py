"""Models of actions: the checks of the papers, and what a missing modality may not do."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.engine.loading import build_model
from harness.models.action.hcn import Standardised, moved
from harness.models.fused import Fused
from harness.models.fusion.mmtm import MMTM
from harness.references.registry import names
from harness.tasks import Batch, Classification, Modality, Task
from harness.training.train import recipe_of

CLASSES, SAMPLES = 5, 4
ACTION = [name for name, place in names("model").items() if place.startswith("harness.models.action.")]
FUSIONS = [name for name in ACTION if name not in ("hcn", "video-net")]


@cache
def small(persons: int = 2) -> Task:
    """A skeleton of 7 joints and a film of 6 frames."""
    generator = torch.Generator().manual_seed(0)
    modalities = (
        Modality("skeleton", (3, 16, 7, persons), "features", -4.0, 4.0),
        Modality("video", (1, 6, 16, 16), "video", 0.0, 1.0, 0.5),
    )
    inputs = {each.name: torch.rand(SAMPLES, *each.shape, generator=generator) for each in modalities}
    targets = torch.arange(SAMPLES) % CLASSES
    splits = {
        split: Batch(tuple(f"{split}{row}" for row in range(SAMPLES)), inputs, targets, ("all",) * SAMPLES)
        for split in ("train", "val", "test")
    }
    return Task("small", modalities, Classification(CLASSES), splits, duplicates="allowed")


def inputs() -> Inputs:
    return small().splits["test"].inputs


def net(name: str) -> Fused:
    torch.manual_seed(0)
    model = build_model(name, small()).eval()
    assert isinstance(model, Fused)
    return model


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_coordinates_are_standardised_and_absent_persons_stay_zeros() -> None:
    """Metres and millimetres train alike."""
    x = torch.randn(8, 3, 16, 7, generator=torch.Generator().manual_seed(0))
    for offset, scale in ((5.0, 3.0), (0.0, 0.001)):
        layer, bodies = Standardised(), offset + scale * x
        bodies[-1] = 0
        seen = layer(bodies)
        assert not seen[-1].any() and abs(float(seen.mean())) < 1e-5
        assert float(seen[:-1].std()) == pytest.approx(1, abs=0.1)
        assert not layer(torch.zeros_like(x)).any()


@pytest.mark.parametrize("name", ACTION)
def test_a_sample_is_answered_alone_as_in_a_batch(name: str) -> None:
    model = net(name)
    whole = model(inputs())
    assert whole.shape == (SAMPLES, CLASSES)
    same(torch.cat([model({key: x[row : row + 1] for key, x in inputs().items()}) for row in range(SAMPLES)]), whole)


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("name", ACTION)
def test_what_is_missing_has_no_influence(name: str, column: int) -> None:
    model, present = net(name), torch.ones(SAMPLES, 2, dtype=torch.bool)
    present[::2, column] = False
    missing = small().names[column]
    changed = {**inputs(), missing: inputs()[missing].clone()}
    changed[missing][::2] = 3.0 if missing == "skeleton" else 0.9
    same(model(changed, present), model(inputs(), present))


@pytest.mark.parametrize("name", [name for name in ACTION if name != "video-net"])
def test_a_body_that_is_moved_as_a_whole_is_answered_alike(name: str) -> None:
    model, shift = net(name), torch.tensor([0.5, -0.2, 1.0]).reshape(3, 1, 1, 1)
    same(model({**inputs(), "skeleton": inputs()["skeleton"] + shift}), model(inputs()))


def test_persons_may_change_places_after_preparation() -> None:
    """The origin is the first person's, so the order of the others means nothing."""
    model = net("hcn")
    first = model.encoders["skeleton"](inputs()["skeleton"])
    same(model.fusion([first.flip(1)], torch.ones(SAMPLES, 1, dtype=torch.bool)), model(inputs()))


def test_a_still_body_has_no_motion() -> None:
    still = inputs()["skeleton"][:, :, :1].expand(-1, -1, 16, -1, -1)
    assert not moved(still[..., 0]).any()
    assert moved(inputs()["skeleton"][..., 0]).any()


def test_motion_is_the_change_from_frame_to_frame() -> None:
    """A body that moves evenly has the same motion in every frame."""
    even = 0.25 * torch.arange(16.0).reshape(1, 1, 16, 1).expand(1, 3, 16, 7)
    same(moved(even), torch.full((1, 3, 16, 7), 0.25))


def _without_exchange(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, MMTM):
            for parameter in part.parameters():
                nn.init.zeros_(parameter)


@pytest.mark.parametrize("options", ["", "?as_published=true"])
def test_without_weights_mmtm_is_late_fusion(options: str) -> None:
    """By as_published too: gates of 1 change nothing, and one person stands for all there."""
    gated, late = net(f"action-mmtm{options}"), net("action-late")
    _without_exchange(gated)
    late.encoders.load_state_dict(gated.encoders.state_dict())
    for ours, theirs in zip(late.fusion.streams, range(2), strict=True):
        for level in range(3):
            ours[level].load_state_dict(gated.fusion.stages[theirs][level].state_dict())
        ours[3].load_state_dict(gated.fusion.heads[theirs].state_dict())
    given = inputs()
    if options:
        given = {**given, "skeleton": given["skeleton"][..., :1].expand(-1, -1, -1, -1, 2)}
    same(gated(given), late(given))


def test_without_the_skeleton_the_film_answers_alone() -> None:
    gated, absent = net("action-mmtm"), torch.tensor([[False, True]]).expand(SAMPLES, -1)
    features, here = gated.ordered({name: gated.encode(name, inputs()[name]) for name in gated.encoded}, absent)
    same(gated(inputs(), absent), gated.fusion.logits(features, here)[1])


def test_the_joint_vector_of_actions_has_half_of_all_channels() -> None:
    first = net("action-mmtm").fusion.exchanges[0]
    assert isinstance(first, MMTM) and first.squeeze.out_features == (128 + 16) // 2


def test_as_published_gates_the_film_only_before_its_classifier() -> None:
    """And all persons have the first one's maps."""
    model, here = net("action-mmtm?as_published=true"), torch.ones(SAMPLES, 2, dtype=torch.bool)
    maps = [torch.rand(SAMPLES, 2, 128, 2, 2), torch.rand(SAMPLES, 16, 6, 8, 8)]
    skeleton, video = model.fusion._gated(model.fusion.exchanges[0], maps, here, False)
    assert torch.equal(video, maps[1]) and torch.equal(skeleton[:, 0], skeleton[:, 1])
    ours, theirs = net("action-mmtm").fusion._gated(model.fusion.exchanges[0], maps, here, False)
    assert not torch.equal(theirs, maps[1]) and not torch.equal(ours[:, 0], ours[:, 1])


def test_a_gate_of_gmu_chooses_between_the_streams() -> None:
    model = net("gmu")
    nn.init.zeros_(model.fusion.gate.weight)
    nn.init.constant_(model.fusion.gate.bias, 40.0)
    film_gone = torch.tensor([[True, False]]).expand(SAMPLES, -1)
    same(model(inputs()), model(inputs(), film_gone))


def test_central_net_learns_from_every_stream() -> None:
    recipe, model = recipe_of("two-streams"), net("central-net").train()
    recipe.setup(model, small(), 1)
    recipe.step(small().splits["train"], recipe.setup(model, small(), 1)[0]).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.fusion.heads.parameters())
    assert model.fusion.alpha.grad is not None and bool((model.fusion.alpha.grad[:, 1:] != 0).all())


@pytest.mark.parametrize("name", ACTION)
def test_other_tasks_are_refused(name: str, digits: Task) -> None:
    with pytest.raises(BadInput, match=f"model '{name}' reads one"):
        build_model(name, digits)


@pytest.mark.parametrize("name", ["hcn", "video-net", "gmu"])
def test_models_without_own_answers_of_streams_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="recipe 'two-streams' trains models whose streams answer"):
        recipe_of("two-streams").setup(net(name), small(), 1)


def test_a_person_who_is_not_there_stays_at_zero() -> None:
    alone = inputs()["skeleton"].clone()
    alone[..., 1] = 0.0
    prepared = net("hcn").encoders["skeleton"].prepared(alone)
    assert not prepared[..., 1].any() and prepared[..., 0].any()
