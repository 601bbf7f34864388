"""timm networks, by a stand-in with timm's configuration: timm itself needs torchvision and is not
installed here.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.outside.timm import adapted
from harness.tasks import Task
from tests.tinynetworks import SIDE, pixels

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONFIG = {"mean": MEAN, "std": STD, "input_size": (3, SIDE, SIDE)}


class Network(nn.Module):
    """As timm's networks: pixels in, a tensor of logits out."""

    def __init__(self, **configuration: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * (SIDE - 2) ** 2, 3))
        for name, said in configuration.items():
            setattr(self, name, said)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def task(high: float) -> Task:
    return Task.from_arrays(
        {"image": pixels(high=high)}, torch.arange(30) % 3, kinds={"image": "image"}, ranges={"image": (0, high)}
    )


@pytest.mark.parametrize(
    "configuration",
    [{"pretrained_cfg": CONFIG}, {"default_cfg": CONFIG}, {"pretrained_cfg": SimpleNamespace(**CONFIG)}],
)
@pytest.mark.parametrize("high", [255.0, 1.0])
def test_clean_is_the_bare_network(configuration: dict[str, Any], high: float) -> None:
    network, images = Network(**configuration), task(high)
    x = images.splits["test"].inputs["image"]
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (MEAN, STD))
    torch.testing.assert_close(
        adapted(network, images)({"image": x}), network((x / high - mean) / std), atol=1e-5, rtol=0
    )


def test_what_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(BadInput, match="Network has no mean in pretrained_cfg or default_cfg"):
        adapted(Network(), task(255.0))
    with pytest.raises(BadInput, match=r"returns \(3,\) logits per sample and task 'arrays' has 4 classes"):
        images = {"image": pixels()}
        options = {"kinds": {"image": "image"}, "ranges": {"image": (0, 255)}}
        adapted(Network(pretrained_cfg=CONFIG), Task.from_arrays(images, torch.arange(30) % 4, **options))
    with pytest.raises(BadInput, match="timm networks read one image, task 'arrays' has x"):
        adapted(Network(pretrained_cfg=CONFIG), Task.from_arrays({"x": torch.rand(30, 2)}, torch.arange(30) % 3))
