"""A segmentation whose critical strengths are known: every pixel is answered from itself, by a
linear model.
"""

import math

import torch
from torch import Tensor

from harness.tasks import Segmentation, Task

SIZE, CLASSES = 10, 5
WEIGHTS = torch.randn(CLASSES, 4, generator=torch.Generator().manual_seed(3))
WEIGHTS -= WEIGHTS.mean(1, keepdim=True)  # so that all classes are there


class Pixelwise(torch.nn.Module):
    """Logits (B, 5, 10, 10) of `rgb` (B, 3, 10, 10) and `depth` (B, 1, 10, 10)."""

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        return logits(torch.cat([inputs["rgb"], inputs["depth"]], 1))


def logits(x: Tensor) -> Tensor:
    return torch.einsum("kc,bchw->bkhw", WEIGHTS.to(x), x)


def maps(count: int = 60, thresholds: tuple[float, ...] = (0.9, 0.5, 0.1), unbounded: bool = False) -> Task:
    """A tenth of the pixels has a class drawn at random, the first row is ignored."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, 4, SIZE, SIZE, generator=generator)
    targets = logits(x).argmax(1)
    drawn = torch.randint(CLASSES, targets.shape, generator=generator)
    targets = torch.where(torch.rand(targets.shape, generator=generator) < 0.1, drawn, targets)
    targets[:, 0] = 255
    inputs = {"rgb": x[:, :3], "depth": x[:, 3:]}
    problem = Segmentation(CLASSES, (SIZE, SIZE), names=("sky", "road", "car", "tree", "house"), thresholds=thresholds)
    ranges = {} if unbounded else {"ranges": dict.fromkeys(inputs, (0.0, 1.0))}
    return Task.from_arrays(
        inputs, targets, name="maps", kinds=dict.fromkeys(inputs, "image"), problem=problem, **ranges
    )


def exact(x: Tensor, targets: Tensor, norm: str, threshold: float, channels: slice) -> float:
    """The smallest change of the channels, in the norm, that fails one sample; no range binds."""
    distances = torch.stack([_distance(x, targets, other, norm, channels) for other in range(CLASSES)]).amin(0)
    counted = targets != 255
    near = distances[counted].sort().values
    wrong = int((logits(x[None])[0].argmax(0) != targets)[counted].sum())
    count, right = int(counted.sum()), int(counted.sum()) - wrong
    chosen = near[: count - math.ceil(threshold * right - 1e-9) + 1]
    return float({"linf": chosen.amax(), "l2": chosen.square().sum().sqrt(), "l1": chosen.sum()}[norm])


def _distance(x: Tensor, targets: Tensor, other: int, norm: str, channels: slice) -> Tensor:
    """How far each pixel is from the class `other`, (H, W); inf where that is its own."""
    own = targets.where(targets != 255, 0)
    z = logits(x[None])[0].double()
    ahead = (z.gather(0, own[None])[0] - z[other]).clamp_min(0)
    change = (WEIGHTS[other] - WEIGHTS[own]).double()[..., channels]
    dual = {"linf": change.abs().sum(-1), "l2": change.norm(dim=-1), "l1": change.abs().amax(-1)}[norm]
    return torch.where(own == other, torch.inf, ahead / dual)


def exact_in_range(x: Tensor, targets: Tensor, threshold: float, channels: slice) -> float:
    """The same in L∞ where every value stays in [0, 1], by bisection for each pixel and class."""
    counted = targets != 255
    own = targets.where(counted, 0)
    z = logits(x[None])[0].double()
    part, near = x[channels].double(), torch.full(targets.shape, torch.inf, dtype=torch.float64)
    for other in range(CLASSES):
        ahead = (z.gather(0, own[None])[0] - z[other]).clamp_min(0)
        slope = (WEIGHTS[other] - WEIGHTS[own]).double()[..., channels].movedim(-1, 0)
        room = torch.where(slope > 0, 1 - part, part)
        low, high = torch.zeros_like(near), torch.ones_like(near)
        for _ in range(50):
            middle = (low + high) / 2
            reached = (slope.abs() * torch.minimum(middle, room)).sum(0) >= ahead
            low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        possible = ((slope.abs() * room).sum(0) >= ahead) & (own != other)
        near = torch.where(possible, torch.minimum(near, high), near)
    wrong = int((logits(x[None])[0].argmax(0) != targets)[counted].sum())
    count, right = int(counted.sum()), int(counted.sum()) - wrong
    return float(near[counted].sort().values[count - math.ceil(threshold * right - 1e-9)])
