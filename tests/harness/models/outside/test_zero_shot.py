"""Zero-shot classification gives CLIP's own scores for images and prompts."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.checkpoint import weight_hash
from harness.models.outside.zero_shot import ZeroShot
from harness.tasks import Classification, Task
from tests.tinynetworks import PROCESSOR, bert, clip, encoded, pixels

CLASSES = 4


def task(high: float = 255.0) -> Task:
    problem = Classification(CLASSES)
    options = {
        "kinds": {"image": "image"},
        "ranges": {"image": (0, high)},
        "problem": problem,
        "splits": ["train", "val", "test"] * 10,
    }
    return Task.from_arrays({"image": pixels(high=high)}, torch.arange(30) % CLASSES, **options)


def prompts() -> dict[str, Tensor]:
    return encoded(CLASSES)


@pytest.mark.parametrize("high", [255.0, 1.0])
def test_clean_is_clip(high: float) -> None:
    network, images = clip(), task(high)
    model, x = ZeroShot(network, images, prompts(), PROCESSOR), images.splits["test"].inputs["image"]
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (PROCESSOR.image_mean, PROCESSOR.image_std))
    # a processor multiplies, not divides
    bare = network(**prompts(), pixel_values=(x * (1 / high) - mean) / std).logits_per_image
    torch.testing.assert_close(model({"image": x}), bare, atol=1e-5, rtol=0)
    x = x.clone().requires_grad_()
    model({"image": x}).square().sum().backward()
    assert x.grad is not None and bool((x.grad != 0).all())


def test_a_missing_image_has_no_influence() -> None:
    images = task()
    model, inputs = ZeroShot(clip(), images, prompts(), PROCESSOR), images.splits["test"].inputs
    outputs = model(inputs, torch.zeros(10, 1, dtype=torch.bool))
    assert torch.equal(outputs, outputs[:1].expand_as(outputs))


def test_other_prompts_are_another_model() -> None:
    other = {key: x.flip(0) for key, x in prompts().items()}
    models = [ZeroShot(clip(), task(), each, PROCESSOR) for each in (prompts(), other, prompts())]
    hashes = [weight_hash(model) for model in models]
    assert hashes[0] == hashes[2] != hashes[1]


class Other(nn.Module):
    """Compares otherwise than by the cosine."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = clip()
        self.logit_scale = self.inner.logit_scale

    def get_image_features(self, **arguments: Tensor) -> object:
        return self.inner.get_image_features(**arguments)

    def get_text_features(self, **arguments: Tensor) -> object:
        return self.inner.get_text_features(**arguments)

    def forward(self, **arguments: Tensor) -> object:
        return SimpleNamespace(logits_per_image=self.inner(**arguments).logits_per_image.square())


def test_what_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(BadInput, match="there are 3 prompts and task 'arrays' has 4 classes"):
        ZeroShot(clip(), task(), encoded(3), PROCESSOR)
    with pytest.raises(BadInput, match="prompts need input_ids"):
        ZeroShot(clip(), task(), {}, PROCESSOR)
    with pytest.raises(
        BadInput, match=r"prompts hold ids from 1000 to 1000 in .* positions, and CLIPModel does not embed them all"
    ):
        ZeroShot(clip(), task(), {key: torch.full_like(x, 1000) for key, x in prompts().items()}, PROCESSOR)
    with pytest.raises(BadInput, match="BertForSequenceClassification cannot compare images with texts"):
        ZeroShot(bert(), task(), prompts(), PROCESSOR)
    with pytest.raises(BadInput, match="by their cosine, as CLIP does"):
        ZeroShot(Other(), task(), prompts(), PROCESSOR)
    features = replace(task().modality("image"), kind="features")
    with pytest.raises(BadInput, match="reads one image, task 'arrays' has 0"):
        ZeroShot(clip(), replace(task(), modalities=(features,)), prompts(), PROCESSOR)
