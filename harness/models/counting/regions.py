"""Regions of an image: proposals, features pooled from the grid inside them, and how two boxes lie
to each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput, unknown
from attacks.region import Inputs
from harness.models.counting.backbone import CHANNELS, STATE, Grid, Question, image_and_question
from harness.models.fused import Fused, without_missing
from harness.tasks import Detector, Task

BOXES = "boxes"
BOXES_AT = 2  # among the features of a model of regions
FIXED, RECOMPUTED = "fixed", "recomputed"
POINTS = 3  # per axis of a box
REGION = 64  # width of a region's features
BOX = 5  # left, top, right, bottom, score
TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Regions:
    """The inputs of a model of regions.

    Attributes:
        features: (B, n, 64).
        boxes: (B, n, 5): left, top, right, bottom as shares of the image, and the detector's score.
        real: which are boxes and not padding, bool (B, n).
        grid: of the whole image, (B, 64, h, w).
    """

    features: Tensor
    boxes: Tensor
    real: Tensor
    grid: Tensor


class Pooled(nn.Module):
    """Features of boxes from a grid, by bilinear samples at 3 × 3 points inside each (RoIAlign, He
    et al., ICCV 2017).

    Differentiable in the grid, so that an attack on the image reaches the features of a box; not
    differentiable in the boxes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(CHANNELS * POINTS**2 + BOX, REGION)
        steps = (torch.arange(POINTS) + 0.5) / POINTS
        self.register_buffer(
            "points", torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2), persistent=False
        )

    def forward(self, grid: Tensor, boxes: Tensor) -> Regions:
        """The regions of a grid (B, C, h, w) and boxes (B, n, 5)."""
        corner, size = boxes[..., None, :2], (boxes[..., 2:4] - boxes[..., :2])[..., None, :]
        places = 2 * (corner + size * self.points) - 1  # type: ignore[operator]  # (B, n, 9, 2), from -1 to 1
        seen = F.grid_sample(grid, places.to(grid.dtype), align_corners=False, padding_mode="border")
        flat = seen.permute(0, 2, 1, 3).flatten(2)
        features = self.project(torch.cat([flat, boxes.to(flat.dtype)], 2)).relu()
        return Regions(features, boxes, boxes[..., 2] > boxes[..., 0], grid)


class OfRegions(nn.Module):
    """A head over regions; takes the features [grid, question, boxes].

    Boxes count as missing with the image they come from.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.pooled, self.head = Pooled(), head

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        logits: Tensor = self.head(*self.regions(features, here))
        return logits

    def explained(self, features: list[Tensor], here: Tensor) -> tuple[int, Tensor | None]:
        """The name of the input, and the weight of each of its boxes in the count, (B, n, 5):
        corners and weight; None if the head does not tell.
        """
        weigh = getattr(self.head, "weights", None)
        if weigh is None:
            return BOXES_AT, None
        regions, question = self.regions(features, here)
        return BOXES_AT, torch.cat(
            [regions.boxes[..., :4], weigh(regions, question)[..., None].to(regions.boxes.dtype)], 2
        )

    def regions(self, features: list[Tensor], here: Tensor) -> tuple[Regions, Tensor]:
        """The regions, and the question's state (B, 64)."""
        seen = torch.stack([here[:, 0], here[:, 1], here[:, 0]], 1)
        grid, question, boxes = without_missing(features, seen)
        return self.pooled(grid, boxes), question


class Redetected(nn.Module):
    """A model of regions whose boxes are made anew from the image as it is given: they move when
    its pixels do.

    No gradient reaches the detector, whose answer is a discrete choice.
    """

    def __init__(self, model: Fused, image: str, detect: Detector) -> None:
        super().__init__()
        self.model, self.image, self.detect = model, image, detect

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, width) of inputs (B, ...) per modality; the boxes among them are not read."""
        outputs: Tensor = self.model(self.detected(inputs), present)
        return outputs

    def explain(self, inputs: Inputs, present: Tensor | None = None) -> dict[str, Tensor]:
        """The boxes that it sees, and how much each counted."""
        return self.model.explain(self.detected(inputs), present)

    def detected(self, inputs: Inputs) -> Inputs:
        """The inputs with the boxes that the detector sees in the image."""
        x = inputs[self.image]
        boxes = torch.tensor(
            np.stack([self.detect(picture) for picture in x.detach().cpu().numpy()]), device=x.device, dtype=x.dtype
        )
        return {**inputs, BOXES: boxes}


def of_regions(task: Task, head: nn.Module, proposals: str) -> nn.Module:
    """A model of the head over regions of the image.

    Args:
        head: maps `Regions` and a question's state (B, 64) to outputs.
        proposals: ``fixed``: those that the task gives, of the untouched image; or ``recomputed``
            by the task's detector from the image as the model gets it, attacked or not.

    Raises:
        BadInput: the task has no image, no question, no proposals or, to recompute them, no
            detector; or no such way.
    """
    image, question = image_and_question(task)
    if proposals not in (FIXED, RECOMPUTED):
        raise unknown("proposals", proposals, (FIXED, RECOMPUTED))
    if BOXES not in task.extra_inputs:
        raise BadInput(
            f"task {task.name!r} has no object proposals, which a model of regions needs: take movie or mutan"
        )
    if proposals == RECOMPUTED and task.detect is None:
        raise BadInput(f"task {task.name!r} has no detector that could recompute proposals: leave them {FIXED}")
    encoders = {image.name: Grid(image), question.name: Question(question), BOXES: nn.Identity()}
    model = Fused(task, encoders, OfRegions(head))
    return model if proposals == FIXED or task.detect is None else Redetected(model, image.name, task.detect)


def what_it_sees(model: nn.Module, inputs: Inputs, present: Tensor | None) -> tuple[nn.Module, Regions, Tensor]:
    """The head of a model of regions, and its inputs: the regions and the question's state (B, 64).

    Raises:
        BadInput: the model does not use regions.
    """
    fused = model.model if isinstance(model, Redetected) else model
    if not isinstance(fused, Fused) or not isinstance(fused.fusion, OfRegions):
        raise BadInput("this model sees no regions: take softcount, irlc, updown, counter or rcn")
    inputs = model.detected(inputs) if isinstance(model, Redetected) else inputs
    features = {name: fused.encode(name, inputs[name]) for name in fused.encoded}
    return fused.fusion.head, *fused.fusion.regions(*fused.ordered(features, present))


class GatedTanh(nn.Module):
    """tanh(W x) ⊗ σ(U x), on [question, region]: (B, n, 64) and (B, 64) to (B, n, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.signal, self.gate = nn.Linear(REGION + STATE, REGION), nn.Linear(REGION + STATE, REGION)

    def forward(self, features: Tensor, question: Tensor) -> Tensor:
        both = torch.cat([features, question[:, None].expand(-1, features.shape[1], -1)], 2)
        gated: Tensor = self.signal(both).tanh() * self.gate(both).sigmoid()
        return gated


def shares(fit: Tensor, real: Tensor) -> Tensor:
    """Softmax (B, n) over the valid regions of each image. Padding gets 0; an image without regions
    gets all zeros.
    """
    return fit.masked_fill(~real, torch.finfo(fit.dtype).min).softmax(1) * real


def overlaps(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """For every pair of boxes (B, n, 4) and (B, m, 4): intersection over union, and over the
    first's area, (B, n, m).
    """
    low = torch.maximum(one[:, :, None, :2], other[:, None, :, :2])
    high = torch.minimum(one[:, :, None, 2:], other[:, None, :, 2:])
    shared = (high - low).clamp_min(0).prod(3)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(2) for boxes in (one, other)]
    union = areas[0][:, :, None] + areas[1][:, None] - shared
    return shared / union.clamp_min(TINY), shared / areas[0][:, :, None].clamp_min(TINY)
