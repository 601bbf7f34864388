"""Views stay valid for the modality, differ between samples, and are one-hot where the input is."""

import pytest
import torch

from harness.models.contrastive.augmentations import augmentation
from harness.tasks import Modality, Task

COLOUR = Modality("photo", (3, 16, 16), "image", 0.0, 255.0, 0.0, "linf:2")
FEATURES = Modality("vector", (5,), "features", float("-inf"), float("inf"), 0.0, "l2:1")


@pytest.mark.parametrize("name", ["image", "audio", "text"])
def test_a_view_stays_in_range_and_differs_sample_by_sample(name: str, digits: Task) -> None:
    modality = digits.modality(name)
    x = digits.splits["train"].inputs[name][:1].expand(16, *modality.shape).contiguous()
    torch.manual_seed(0)
    view = augmentation(modality)(x)
    assert view.shape == x.shape
    assert modality.low <= view.min() and view.max() <= modality.high
    assert len({tuple(row.flatten().tolist()) for row in view}) > 8, "each sample is changed in its own way"
    torch.manual_seed(0)
    assert torch.equal(augmentation(modality)(x), view), "seeded by torch's generator"


def test_a_view_of_a_text_is_one_hot(digits: Task) -> None:
    x = digits.splits["train"].inputs["text"][:64]
    view = augmentation(digits.modality("text"))(x)
    assert torch.equal(view.sum(-1), torch.ones(view.shape[:2]))
    kept = (view.argmax(-1) == x.argmax(-1)).double().mean()
    assert 0.4 < kept < 0.95


def test_colours_and_features() -> None:
    torch.manual_seed(0)
    photos = augmentation(COLOUR)(255 * torch.rand(64, 3, 16, 16))
    grey = (photos[:, 0] - photos[:, 1]).abs().flatten(1).amax(1) < 1e-3
    assert 2 <= int(grey.sum()) <= 30
    vectors = torch.randn(4000, 5) * torch.tensor([1.0, 10.0, 100.0, 0.1, 1.0])
    view = augmentation(FEATURES)(vectors)
    dropped = (view == vectors.mean(0)).double().mean().item()
    assert dropped == pytest.approx(0.2, abs=0.02)
    moved = ((view - vectors)[:, 1][view[:, 1] != vectors.mean(0)[1]]).std().item()
    assert moved == pytest.approx(0.1 * vectors[:, 1].std().item(), rel=0.1)


def test_a_plain_picture_keeps_its_level_but_for_brightness() -> None:
    torch.manual_seed(0)
    view = augmentation(COLOUR)(torch.full((256, 3, 16, 16), 100.0))
    assert view.flatten(1).std(1).max() < 1e-3, "a crop of one colour is one colour"
    assert 55 < view.min() < 70 and 130 < view.max() < 145
