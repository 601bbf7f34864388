"""Features of pictures of rooms, for FID and KID: a small network that learnt the classes of
pixels.

Its weights are committed beside this file; `train_extractor` made them. Values are comparable only
with those of the same extractor, which is why its name stands in the names of the metrics.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.storage.tensorfile import from_bytes

WEIGHTS = Path(__file__).with_name("extractor.safetensors")
WIDTHS = (16, 24, 48)  # channels at a half, a quarter and an eighth of the size
GROUP = 8  # channels that are normed together, of one image each
AT_ONCE = 8  # images: with always as many, an image has the same features whichever others there are
SHA256 = "8b543560b1de9825f4b117c27e89c78e579a7d0e852e353b2fafd89d6f1c7f80"


class Trunk(nn.Module):
    """Maps of pictures (B, 3, H, W) in [0, 1] at three sizes."""

    def __init__(self) -> None:
        super().__init__()
        steps = [
            nn.Sequential(nn.Conv2d(narrow, wide, 3, 2, 1), nn.GroupNorm(wide // GROUP, wide), nn.ReLU())
            for narrow, wide in pairwise((3, *WIDTHS))
        ]
        self.stages = nn.ModuleList(steps)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [2 * images - 1]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]


@dataclass(frozen=True)
class RoomFeatures:
    """The means over places of every map: 88 features of pictures (B, 3, H, W) in [0, 1], float32.

    Attributes:
        weights: the SHA-256 of the file of weights. It belongs to the definition of a task.
    """

    name: str = "rooms"
    width: int = sum(WIDTHS)
    weights: str = SHA256

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, 88).

        Raises:
            BadInput: the file of weights is not the one that was committed.
        """
        trunk = _trunk(images.device)
        with torch.autocast(images.device.type, enabled=False), torch.no_grad():
            return torch.cat([_pooled(trunk, part) for part in images.float().split(AT_ONCE)])


def _pooled(trunk: Trunk, images: Tensor) -> Tensor:
    padded = F.pad(images, (0, 0, 0, 0, 0, 0, 0, AT_ONCE - len(images)))
    return torch.cat([each.mean((2, 3)) for each in trunk(padded)], 1)[: len(images)]


@cache
def _trunk(device: torch.device) -> Trunk:
    content = WEIGHTS.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise BadInput(f"{WEIGHTS} has changed, and FID and KID depend on it: install the package again")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        trunk = Trunk()
    trunk.load_state_dict({name: x.float() for name, x in from_bytes(content).items()})
    return trunk.to(device).eval().requires_grad_(False)
