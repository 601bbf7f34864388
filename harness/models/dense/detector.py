"""A small one-shot detector: an encoder per sensor, and in every cell of a grid a class and a box.

The places of the answer are the cells of a grid with one cell in 4×4 pixels, row by row. A cell
answers how far the four sides of a box are from its middle, as FCOS does (Tian et al., ICCV 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.models.dense.convnet import convolved
from harness.models.encoders import centred
from harness.models.fused import Fused, without_missing
from harness.tasks import Boxes, Modality, Task
from harness.tasks.axes import channels

CELL, FOLD = 4, 2  # pixels of a cell each way, and of the fold that an image's first layer takes
WIDTHS = (24, 40)  # channels of an encoder at a half and at a quarter of the size
SCANNED = (16, 32, 40)  # channels of the encoder of a scan
MIXED = 40  # channels of all sensors together
SHORTEST = 0.15  # of an untrained box, from the middle to a side, as a share of the image
SIDES = 4


class Picture(nn.Module):
    """Maps (B, 40, H / 4, W / 4) of an image."""

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        half, quarter = WIDTHS
        self.layers = nn.Sequential(
            *centred(modality),
            nn.PixelUnshuffle(FOLD),
            convolved(channels(modality.shape) * FOLD * FOLD, half),
            convolved(half, half),
            convolved(half, quarter, 2),
            convolved(quarter, quarter),
        )

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.layers(x)
        return maps


class Scan(nn.Module):
    """Maps (B, 40, *grid) of a range scan (B, rings, angles): its rings lie evenly over the rows of
    the grid, its angles over the columns.
    """

    def __init__(self, modality: Modality, grid: tuple[int, int]) -> None:
        super().__init__()
        first, second, third = SCANNED
        self.grid = grid
        image = nn.Sequential(*centred(modality), nn.Unflatten(1, (1, *modality.shape)))
        self.layers = nn.Sequential(image, convolved(1, first), convolved(first, second))
        self.placed = convolved(second, third)

    def forward(self, x: Tensor) -> Tensor:
        maps = F.interpolate(self.layers(x), size=self.grid, mode="bilinear", align_corners=False)
        placed: Tensor = self.placed(maps)
        return placed


class Head(nn.Module):
    """Answers (B, cells, classes + 5) of the maps of several sensors."""

    def __init__(self, sensors: int, classes: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.mixed = nn.Sequential(convolved(sensors * WIDTHS[-1], MIXED, kernel=1), convolved(MIXED, MIXED))
        self.around = nn.Sequential(convolved(MIXED, MIXED, 2), convolved(MIXED, MIXED))
        self.joined = nn.Sequential(convolved(2 * MIXED, MIXED, kernel=1), convolved(MIXED, MIXED))
        self.answer = nn.Conv2d(MIXED, classes + 1 + SIDES, 1)
        self.register_buffer("middles", _middles(grid), persistent=False)

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        x = self.mixed(torch.cat(without_missing(features, here), 1))
        around = F.interpolate(self.around(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
        answer = self.answer(self.joined(torch.cat([x, around], 1))).flatten(2).mT
        logits, sides = answer[..., :-SIDES], SHORTEST * answer[..., -SIDES:].exp()
        corners = torch.cat([self.middles - sides[..., :2], self.middles + sides[..., 2:]], 2)
        return torch.cat([logits, corners.clamp(0, 1)], 2)


def _middles(grid: tuple[int, int]) -> Tensor:
    """The middle of each cell (cells, 2), across and down, as shares of the image."""
    down, across = ((torch.arange(cells) + 0.5) / cells for cells in grid)
    return torch.stack([across.repeat(grid[0]), down.repeat_interleave(grid[1])], 1)


def detector(task: Task) -> Fused:
    """Detection from all sensors: convolutional encoders of images and range scans, one grid.

    Raises:
        BadInput: the task asks for no boxes, or a modality is neither an image of its grid nor a
            scan.
    """
    return over(task, task.names)


def detector_of(task: Task, modality: str) -> Fused:
    """The detector of one sensor alone.

    Raises:
        BadInput: as `detector`.
    """
    return over(task, [task.modality(modality).name])


def over(task: Task, names: Sequence[str]) -> Fused:
    """The detector of the named sensors only.

    Raises:
        BadInput: as `detector`.
    """
    if not isinstance(task.problem, Boxes):
        raise BadInput(
            f"task {task.name!r} asks for answers of shape {tuple(task.problem.shape)}, and a detector answers sets of"
            " boxes (harness.tasks.Boxes): choose another model"
        )
    grid = _grid(task)
    encoders = {name: _encoder(task, task.modality(name), grid) for name in names}
    return Fused(task, encoders, Head(len(encoders), task.problem.classes, grid))


def _grid(task: Task) -> tuple[int, int]:
    """Rows and columns of cells: those of the task's images, as many as the answer has places."""
    places = task.problem.shape[0]
    for modality in task.modalities:
        height, width = modality.shape[-2:] if modality.kind == "image" else (0, 0)
        if height % CELL == width % CELL == 0 and (height // CELL) * (width // CELL) == places:
            return height // CELL, width // CELL
    raise BadInput(
        f"task {task.name!r} asks for {places} places, and a detector answers one in {CELL}×{CELL} pixels of an image:"
        " give an image of that size, or choose another model"
    )


def _encoder(task: Task, modality: Modality, grid: tuple[int, int]) -> nn.Module:
    if modality.kind == "image" and modality.shape[-2:] == (grid[0] * CELL, grid[1] * CELL):
        return Picture(modality)
    if modality.kind == "features" and len(modality.shape) == len(grid):
        return Scan(modality, grid)
    raise BadInput(
        f"modality {modality.name!r} of task {task.name!r} is {modality.kind} of shape {modality.shape}, and a detector"
        f" takes images of {grid[0] * CELL}×{grid[1] * CELL} and range scans (rings, angles): choose another model"
    )
