"""Learning from a whole image how many objects of each kind it shows, as Chattopadhyay et al.

(CVPR 2017) count at a glance.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.models.counting.backbone import CHANNELS
from harness.tasks.batch import CORNERS

TOGETHER = 2  # labels: the amounts of red and of round do not give the amount of both


class Glance(nn.Module):
    """The loss of counting the objects of each kind, linearly from the mean of a grid over its
    places.

    A model that sees the image by such a mean can count only kinds that single features of the grid
    show.

    Args:
        sizes: the number of values of each label of an object.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = list(sizes)
        kinds = counted(torch.empty(1, 0, CORNERS + len(sizes)), sizes).shape[1]
        self.read = nn.Sequential(nn.BatchNorm1d(CHANNELS), nn.Linear(CHANNELS, kinds))

    def forward(self, grid: Tensor, objects: Tensor) -> Tensor:
        """The mean squared error, a scalar, of a grid (B, 64, h, w) and objects (B, n, 4 + labels):
        see `Batch.annotations`.

        0 for a single image, which has no batch to normalise over.
        """
        if len(grid) == 1:
            return 0 * grid.sum()
        return F.mse_loss(self.read(grid.mean((2, 3))), counted(objects, self.sizes))


def counted(objects: Tensor, sizes: Sequence[int]) -> Tensor:
    """How many objects of each kind there are, (B, kinds), of objects (B, n, 4 + labels).

    A kind is a value of one label with one of another, for each two labels; of objects with one
    label, a value of that.
    """
    there, labels = objects[..., CORNERS] >= 0, objects[..., CORNERS:].long().clamp_min(0)
    counts = []
    for chosen in combinations(range(len(sizes)), min(TOGETHER, len(sizes))):
        kind = torch.zeros_like(labels[..., 0])
        for label in chosen:
            kind = kind * sizes[label] + labels[..., label]
        counts.append((F.one_hot(kind, prod(sizes[label] for label in chosen)) * there[..., None]).sum(1))
    return torch.cat(counts, 1).to(objects.dtype)
