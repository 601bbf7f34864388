"""Make the weights of the extractor. Run once; its output is committed.

::

    python -m harness.tasks.datasets.rooms.train_extractor

The classes of the pixels of the training rooms are learnt from the pictures that translations are
to give, mirrored at random, from every size of the extractor's maps. Six minutes on one core.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.storage.files import write_whole
from harness.storage.tensorfile import to_bytes
from harness.tasks.datasets.rooms.extractor import WEIGHTS, WIDTHS, Trunk
from harness.tasks.datasets.rooms.plan import CLASSES
from harness.tasks.datasets.rooms.render import SIDE
from harness.tasks.datasets.rooms.sensors import IGNORED, labelled
from harness.tasks.datasets.rooms.translations import painted

EPOCHS, BATCH, RATE = 40, 32, 3e-3


class Labeller(nn.Module):
    """Logits (B, classes, 48, 48) from the three maps of a trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.classify = nn.Conv2d(sum(WIDTHS), len(CLASSES), 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = [F.interpolate(each, size=(SIDE, SIDE), mode="bilinear") for each in self.trunk(images)]
        logits: Tensor = self.classify(torch.cat(maps, 1))
        return logits


def seen(split: str) -> tuple[Tensor, Tensor]:
    """Pictures (S, 3, 48, 48) and classes (S, 48, 48) of a split."""
    _, each = painted(split)
    return torch.tensor(each.rgb), torch.tensor(labelled(each))


def trained(images: Tensor, labels: Tensor) -> Labeller:
    """A network that labels pixels."""
    torch.manual_seed(0)
    model = Labeller()
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH):
            x, y = images[rows], labels[rows]
            if torch.rand(()) < 0.5:
                x, y = x.flip(3), y.flip(2)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y, ignore_index=IGNORED).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def main() -> None:
    """Train, write the weights in half precision, and print their hash."""
    model = trained(*seen("train"))
    content = to_bytes({name: x.half() for name, x in model.trunk.state_dict().items()})
    write_whole(WEIGHTS, content)
    images, labels = seen("val")
    with torch.no_grad():
        right = (model(images).argmax(1) == labels)[labels != IGNORED]
    print(
        f"{hashlib.sha256(content).hexdigest()}, {len(content)} bytes, pixel accuracy {float(right.float().mean()):.3f}"
    )


if __name__ == "__main__":
    main()
