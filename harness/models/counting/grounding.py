"""Learning which objects a question speaks of, before and while learning to count them, as Trott et
al. ground captions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.models.counting.backbone import Fit, Places
from harness.models.counting.regions import Pooled, Regions, overlaps
from harness.tasks import Batch
from harness.tasks.batch import CORNERS as CORNERS

THERE_WEIGHT = 4.0  # few cells have an object
# intersection over union from which a region shows an object: proposals of small objects are
# some pixels off
SAME = 0.4


class Grounding(nn.Module):
    """From a model's features of each place under the question, whether an object of the question
    lies there.

    The prediction is the model's own `Fit`, or one linear layer for each of its `Places`. Both are
    read during a call of the model.

    Args:
        model: has one of them; otherwise nothing is learnt here.
        middle: see `covered`.
    """

    def __init__(self, model: nn.Module, middle: float = 0.0) -> None:
        super().__init__()
        self.middle = middle
        places = [part for part in model.modules() if isinstance(part, Fit | Places)]
        self.readers = nn.ModuleList(
            nn.Linear(part.width, 1) if isinstance(part, Places) else nn.Identity() for part in places
        )
        self.seen: dict[int, Tensor] = {}
        self.regions: Regions | None = None
        for number, part in enumerate(places):
            part.register_forward_hook(self._keep(number))
        for pooled in model.modules():
            if isinstance(pooled, Pooled):
                pooled.register_forward_hook(self._note)

    def forward(self, batch: Batch, grid: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """The loss, a scalar, of the model's last call.

        Args:
            batch: with `objects` and `asked`.
            grid: (B, C, h, w); its cells are the places of models without regions.
            rows: the rows of the batch that count.
        """
        losses = [
            self._loss(reader(self.seen[number]).squeeze(2)[rows], batch, grid, rows)
            for number, reader in enumerate(self.readers)
        ]
        return torch.stack(losses).mean()

    def _loss(self, logits: Tensor, batch: Batch, grid: Tensor, rows: Tensor | slice) -> Tensor:
        assert batch.annotations is not None and batch.referred is not None
        objects, asked = batch.annotations[rows], batch.referred[rows]
        if self.regions is None:
            meant = covered(objects, asked, grid[rows], self.middle)
            return THERE_WEIGHT * F.binary_cross_entropy_with_logits(logits, meant.flatten(1))
        shared, at = overlaps(self.regions.boxes[rows][..., :CORNERS], objects[..., :CORNERS].clamp_min(0))[0].max(2)
        shows, real = (shared >= SAME) & asked.gather(1, at), self.regions.real[rows]
        if not bool(real.any()):
            return 0 * logits.sum()  # the mean over zero regions is NaN
        return F.binary_cross_entropy_with_logits(logits[real], shows[real].to(logits.dtype))

    def _keep(self, number: int) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self.seen[number] = output

        return hook

    def _note(self, module: nn.Module, inputs: Any, output: Regions) -> None:
        self.regions = output


def cells(objects: Tensor, chosen: Tensor, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sample, row and column of the cells of a grid (B, C, h, w) in which the middles of chosen
    objects lie; each (N,).

    Args:
        objects: (B, n, 4 + labels), as `Batch.annotations`.
        chosen: bool (B, n).
    """
    size = torch.tensor([grid.shape[3], grid.shape[2]], device=grid.device)
    middle = (objects[..., :2] + objects[..., 2:CORNERS]) / 2
    column, row = (middle * size).long().minimum(size - 1).unbind(2)
    sample, number = chosen.nonzero(as_tuple=True)
    return sample, row[sample, number], column[sample, number]


def covered(objects: Tensor, chosen: Tensor, grid: Tensor, middle: float) -> Tensor:
    """Which cells of a grid (B, C, h, w) show a chosen object, 0 or 1 (B, h, w): those inside the
    middle of its box.

    Args:
        objects, chosen: see `cells`.
        middle: the share of each side of the box that is its middle; of 0, and of objects smaller
            than a cell, the one cell of their middle is left.
    """
    height, width = grid.shape[2:]
    centre, half = (
        (objects[..., :2] + objects[..., 2:CORNERS]) / 2,
        middle * (objects[..., 2:CORNERS] - objects[..., :2]) / 2,
    )
    columns, rows = ((torch.arange(length, device=grid.device) + 0.5) / length for length in (width, height))
    across = (columns - centre[..., :1]).abs() < half[..., :1]
    down = (rows - centre[..., 1:]).abs() < half[..., 1:]
    shown = (down[..., :, None] & across[..., None, :] & chosen[..., None, None]).any(1).to(grid.dtype)
    shown[cells(objects, chosen, grid)] = 1
    return shown
