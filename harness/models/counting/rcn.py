"""RCN (Acharya, Kafle & Kanan, TallyQA, AAAI 2019): a relation network over pairs of regions, and
of regions with the background.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.models.counting.backbone import CHANNELS, STATE, Places
from harness.models.counting.regions import FIXED, REGION, Regions, of_regions, overlaps
from harness.tasks import Task

BACKGROUND = 4  # cells per axis: 16 of them
HIDDEN = 96
GEOMETRY = 16
LAYERS = 3


class Relation(nn.Module):
    """Σ over pairs of g([o_i, p_j, q, 16 numbers of geometry]), g of three linear layers with ReLU,
    then one more.
    """

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        widths = [first + second + STATE + GEOMETRY, *[HIDDEN] * LAYERS]
        self.pair = nn.Sequential(*(part for each in pairwise(widths) for part in (nn.Linear(*each), nn.ReLU())))
        self.places = Places(HIDDEN)  # each first thing in all its pairs
        self.after = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU())

    def forward(self, one: Tensor, other: Tensor, question: Tensor, geometry: Tensor, real: Tensor) -> Tensor:
        """(B, hidden) of things (B, n, first) and (B, m, second), a question (B, state) and
        geometry (B, n, m, 16).

        Args:
            real: which pairs count, bool (B, n, m).
        """
        size = (-1, one.shape[1], other.shape[1], -1)
        parts = (
            one[:, :, None].expand(size),
            other[:, None].expand(size),
            question[:, None, None].expand(size),
            geometry,
        )
        summed = self.places((self.pair(torch.cat(parts, 3)) * real[..., None]).sum(2)).sum(1)
        related: Tensor = self.after(summed)
        return related


class RCN(nn.Module):
    """Relations among regions and of regions with 16 cells of the background, concatenated and
    classified.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.among, self.around = Relation(REGION, REGION), Relation(REGION, CHANNELS)
        self.classify = nn.Sequential(
            nn.LayerNorm(2 * HIDDEN), nn.Linear(2 * HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs)
        )
        ends = torch.arange(BACKGROUND + 1) / BACKGROUND
        corners = torch.cartesian_prod(ends[:-1], ends[:-1])
        cells = torch.cat([corners, corners + 1 / BACKGROUND], 1)
        self.register_buffer("cells", cells, persistent=False)

    def forward(self, regions: Regions, question: Tensor) -> Tensor:
        """Logits (B, outputs)."""
        objects, boxes, real = regions.features, regions.boxes[..., :4], regions.real
        cells = self.cells.expand(len(question), -1, -1)  # type: ignore[operator]
        # columns first, as cells
        background = F.adaptive_avg_pool2d(regions.grid, BACKGROUND).transpose(2, 3).flatten(2).transpose(1, 2)
        among = self.among(objects, objects, question, geometry(boxes, boxes), real[:, :, None] & real[:, None])
        around = self.around(
            objects, background, question, geometry(boxes, cells), real[:, :, None].expand(-1, -1, cells.shape[1])
        )
        logits: Tensor = self.classify(torch.cat([among, around], 1))
        return logits


def geometry(one: Tensor, other: Tensor) -> Tensor:
    """16 numbers of every pair of boxes (B, n, 4) and (B, m, 4): (B, n, m, 16).

    Of each box the corners, width and height; of both the distance of their middles along both
    axes, IoU, and the shared area as a share of the first's.
    """
    size = (len(one), one.shape[1], other.shape[1], -1)
    first, second = (torch.cat([boxes, boxes[..., 2:] - boxes[..., :2]], 2) for boxes in (one, other))
    apart = (second[:, None, :, :2] + second[:, None, :, 4:] / 2) - (first[:, :, None, :2] + first[:, :, None, 4:] / 2)
    iou, covered = overlaps(one, other)
    return torch.cat(
        [first[:, :, None].expand(size), second[:, None].expand(size), apart, iou[..., None], covered[..., None]], 3
    )


def rcn(task: Task, proposals: str = FIXED) -> nn.Module:
    """RCN: a relation network over all pairs of regions, and of regions with the background.

    Args:
        proposals: see `of_regions`.

    Raises:
        BadInput: the task has no image, question or proposals.
    """
    return of_regions(task, RCN(task.width), proposals)
