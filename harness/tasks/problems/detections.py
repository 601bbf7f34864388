"""Boxes as detectors handle them: overlap, non-maximum suppression, COCO's matching and average
precision (Lin et al., ECCV 2014), and the objects that are lost and invented.

Boxes are (..., 4): left, top, right, bottom, in any unit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

STRICTNESS = tuple(np.linspace(0.5, 0.95, 10).tolist())  # COCO's least overlaps
RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
TINY = 1e-12
FOUND = 0.5  # the least IoU at which an object is found
ROUNDING = 1e-6  # of a score or a share
NONE = -1  # in the place of a class or a number where there is nothing


class Detections(NamedTuple):
    """The detections that remain after suppression, the most confident first.

    Attributes:
        classes: (B, D), `NONE` where there is no detection.
        odds: (B, D), the log-odds of the confidence less those of the least one that counts.
        boxes: (B, D, 4).
    """

    classes: Tensor
    odds: Tensor
    boxes: Tensor


def areas(boxes: Tensor) -> Tensor:
    """(..., N), 0 where a right or lower end lies before the other."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def overlaps(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """The area that two boxes share, and the area of both together, (..., N, M)."""
    ours, theirs = ours[..., :, None, :], theirs[..., None, :, :]
    low, high = torch.maximum(ours[..., :2], theirs[..., :2]), torch.minimum(ours[..., 2:], theirs[..., 2:])
    shared = areas(torch.cat([low, high], -1))
    return shared, areas(ours) + areas(theirs) - shared


def iou(ours: Tensor, theirs: Tensor) -> Tensor:
    """Intersection over union of boxes (..., N, 4) and (..., M, 4), (..., N, M)."""
    shared, both = overlaps(ours, theirs)
    return shared / both.clamp_min(TINY)


def generalised_iou(ours: Tensor, theirs: Tensor) -> Tensor:
    """IoU less the share of the enclosing box that neither covers (Rezatofighi et al., CVPR 2019),
    (..., N, M): boxes that do not touch have a gradient, too.
    """
    shared, both = overlaps(ours, theirs)
    ours, theirs = ours[..., :, None, :], theirs[..., None, :, :]
    low, high = torch.minimum(ours[..., :2], theirs[..., :2]), torch.maximum(ours[..., 2:], theirs[..., 2:])
    around = areas(torch.cat([low, high], -1)).clamp_min(TINY)
    return shared / both.clamp_min(TINY) - (around - both) / around


def suppressed(confidence: Tensor, classes: Tensor, boxes: Tensor, most: int, overlap: float) -> Tensor:
    """Greedy non-maximum suppression: the most confident place first, then the next one that
    overlaps no chosen one of its class by more than `overlap`.

    Args:
        confidence, classes: (B, A); boxes (B, A, 4).

    Returns:
        at most `most` places, (B, D), `NONE` where no more are left.
    """
    boxes = boxes.detach().double()
    apart = 2 * boxes.abs().amax((1, 2), keepdim=True) + 1
    boxes = boxes + apart * classes[..., None]  # boxes of two classes never overlap
    left, size, chosen = confidence.detach().clamp_min(torch.finfo(confidence.dtype).min), areas(boxes), []
    for _ in range(min(most, confidence.shape[1])):
        value, place = left.max(1, keepdim=True)
        chosen.append(place.where(value.isfinite(), NONE))
        box = boxes.gather(1, place[..., None].expand(-1, -1, 4))
        shared = areas(torch.cat([torch.maximum(boxes, box)[..., :2], torch.minimum(boxes, box)[..., 2:]], 2))
        rival = shared > overlap * (size + size.gather(1, place) - shared).clamp_min(TINY)
        left = left.masked_fill(rival, float("-inf")).scatter(1, place, float("-inf"))
    return torch.cat(chosen, 1)


def matches(classes: Tensor, boxes: Tensor, targets: Tensor, strictness: tuple[float, ...]) -> Tensor:
    """Which object each detection finds, as COCO assigns them: the most confident detection first,
    each takes the object of its class, not yet taken, that it overlaps most.

    Args:
        classes: (B, D), the most confident first, `NONE` where there is no detection; boxes
            (B, D, 4).
        targets: (B, M, 5), class and box, class `NONE` where there is no object.
        strictness: the least IoU, T of them.

    Returns:
        the object's number (B, T, D), `NONE` where it finds none.
    """
    kinds = targets[:, None, :, 0]
    same = (classes[:, :, None] == kinds) & (kinds >= 0)
    near = iou(boxes.detach().double(), targets[..., 1:].double()).where(same, -1.0)
    least = torch.tensor(strictness, dtype=near.dtype, device=near.device)[:, None, None]
    left = near[:, None].where(near[:, None] >= least, -1.0).flip(3)  # COCO takes the last of equals, (B, T, D, M)
    found = torch.full_like(left[..., 0], NONE, dtype=torch.int64)
    last = left.shape[3] - 1
    for _ in range(min(left.shape[2:])):  # the first detection that overlaps a free object takes it
        first = (left.amax(3) >= 0).int().argmax(2, keepdim=True)
        row = left.gather(2, first[..., None].expand(-1, -1, -1, last + 1))[:, :, 0]
        best = row.argmax(2, keepdim=True)
        hit = row.gather(2, best) >= 0
        found = found.scatter(2, first, (last - best).where(hit, found.gather(2, first)))
        left = left.scatter(2, first[..., None].expand(-1, -1, -1, last + 1), -1.0)
        left = left.scatter(3, best[:, :, None].expand(-1, -1, left.shape[2], -1), -1.0)
    return found


def average_precision(confidence: Tensor, hits: Tensor, count: int) -> Tensor:
    """The mean precision at 101 recalls, (T,), of detections (n,) of one class in any order.

    Args:
        confidence: (n,).
        hits: whether each found an object, bool (n, T).
        count: how many objects there are, at least 1.
    """
    found = hits[confidence.argsort(descending=True, stable=True)].double().cumsum(0)
    ranks = torch.arange(1, len(found) + 1, dtype=torch.float64)[:, None]
    nothing = torch.zeros(1, hits.shape[1], dtype=torch.float64)  # the precision at a recall that is not reached
    precision = torch.cat([found / ranks, nothing]).flip(0).cummax(0).values.flip(0)
    recalls = torch.from_numpy(RECALLS)
    at = torch.stack([torch.searchsorted(each, recalls) for each in (found / count).T.contiguous()], 1)
    return precision.gather(0, at).mean(0)


def log_odds(share: Tensor) -> Tensor:
    """0 at one half, finite everywhere."""
    return torch.logit(share, ROUNDING)


def ways(found: Detections, targets: Tensor) -> tuple[Tensor, Tensor]:
    """How near each object is to being lost (B, M), infinite where no detection finds it, and each
    detection to being invented (B, D); negative where it is not, -inf where there is none.
    """
    number = matches(found.classes, found.boxes, targets, (FOUND,))[:, 0]
    finds = number[..., None] == torch.arange(targets.shape[1], device=number.device)  # (B, D, M)
    never = float("-inf")
    worse = torch.maximum(-found.odds[..., None], -log_odds(iou(found.boxes, targets[..., 1:])))
    lost = worse.masked_fill(~finds, never).amax(1).masked_fill(~finds.any(1), float("inf"))
    free = (found.classes >= 0) & (number < 0)
    return lost.masked_fill(targets[..., 0] < 0, never), found.odds.masked_fill(~free, never)


def f1_of(lost: Tensor, invented: Tensor) -> Tensor:
    """Twice the objects found, by the objects and the detections that count (B,), float64, from
    `ways`; 1 where there are neither.
    """
    return _f1(_real(lost).sum(1), (lost >= 0).sum(1), (invented >= 0).sum(1))


def _real(way: Tensor) -> Tensor:
    return way > float("-inf")


def _f1(objects: Tensor, lost: Tensor, invented: Tensor) -> Tensor:
    found = objects - lost
    total = objects + found + invented
    return (2 * found.double() / total.clamp_min(1)).where(total > 0, 1.0)


def margin_of(lost: Tensor, invented: Tensor, floor: Tensor) -> Tensor:
    """How near the mistake is with which F1 falls below the floor (B,), or to 0, where the nearest
    mistakes come first.
    """
    nearest, order = torch.cat([lost, invented], 1).sort(dim=1, descending=True, stable=True)
    real, losing = _real(nearest), order < lost.shape[1]
    objects = _real(lost).sum(1, keepdim=True)
    scores = _f1(objects, (real & losing).cumsum(1), (real & ~losing).cumsum(1))
    below = (scores < floor.double()[:, None] - ROUNDING) | (scores <= 0)
    return nearest.gather(1, below.int().argmax(1, keepdim=True)).squeeze(1)
