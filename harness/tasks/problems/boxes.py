"""A set of boxes: detection, judged by the objects that are lost and invented, and by mAP."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import Verdict
from harness.tasks.problems.detections import (
    FOUND,
    NONE,
    STRICTNESS,
    Detections,
    average_precision,
    f1_of,
    generalised_iou,
    iou,
    log_odds,
    margin_of,
    matches,
    suppressed,
    ways,
)
from harness.tasks.problems.problem import MOST_TALLIED

CORNERS = 4
ASSIGNED = 4  # places that learn one object
DISTANCE, COVER = 5.0, 2.0  # weights of the corners' distance and of the overlap in training, as DETR's
BITS = 2 ** len(STRICTNESS)
TINY = 1e-6


@dataclass(frozen=True)
class Boxes:
    """The objects of an image as a detector answers them: at each of A places, which class it sees
    and where.

    Outputs are (B, A, K + 5): logits of K classes, the logit of the background, then left, top,
    right and bottom as shares of the image. Targets are (B, M, 5), float32: the class, -1 where
    there is no object, then its box in the same way. A place detects its likeliest class;
    its confidence is the softmax over the K + 1 logits. Non-maximum suppression within each class
    leaves at most `most` detections.

    An object is found by a detection of its class, at IoU above .5 and a confidence above
    `confidence`; otherwise it is lost. Every other detection of at least that confidence is
    invented. A tie is a mistake either way. Of several detections of one object, one finds it, and
    the others are invented.

    The score is F1: twice the objects found, by objects and counted detections. A sample has failed
    when its score falls below a share of its untouched score, a threshold; at the first one, .999,
    when an object more is lost or invented. Scores decay instead of only failing, because mAP needs
    the worst answers under attack: the narrow loss of one object hardly changes it.

    The margin is the log-odds of the mistake that is one too many. Attacks raise the training loss
    (`detection`). Other losses lower the confidence of all places that see an object (`lost`), or
    raise that of all others (`invented`).

    Attributes:
        classes: K.
        places: A.
        names: of the classes; their numbers where absent.
        confidence: the least one that counts.
        overlap: the IoU above which suppression drops the less confident of two detections.
        most: detections kept for each sample, for mAP with those that do not count.
        thresholds: shares of the untouched score.
    """

    classes: int
    places: int
    names: tuple[str, ...] = ()
    confidence: float = 0.5
    overlap: float = 0.5
    most: int = 100
    thresholds: tuple[float, ...] = (0.999, 0.5)
    placed: ClassVar[int] = 2  # axes of an input that the targets name places on

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.places, self.classes + 1 + CORNERS)

    def check_targets(self, targets: Tensor) -> None:
        self._check_options()
        if not targets.is_floating_point() or targets.ndim != 3 or targets.shape[1] < 1 or targets.shape[2] != 5:
            raise BadInput(
                f"targets have shape {tuple(targets.shape)} of {targets.dtype}: give real numbers (N, M, 5), class,"
                " left, top, right and bottom, with class -1 where there is no object"
            )
        kinds = targets[..., 0]
        if len(strange := kinds[~((kinds >= NONE) & (kinds < self.classes) & (kinds == kinds.floor()))]):
            raise BadInput(
                f"targets hold class {strange[0]:g}: number the {self.classes} classes from 0, and write -1 where there"
                " is no object"
            )
        boxes = targets[kinds >= 0][:, 1:]
        if len(strange := boxes[~((boxes >= 0) & (boxes <= 1)).all(1)]):
            raise BadInput(f"box {_written(strange[0])} leaves the image: give corners as shares of it, from 0 to 1")
        if len(strange := boxes[~(boxes[:, :2] < boxes[:, 2:]).all(1)]):
            raise BadInput(f"box {_written(strange[0])} has no area: give left, top, right and bottom in this order")

    def _check_options(self) -> None:
        if self.classes < 1 or self.places < 1 or self.most < 1 or 2 * self.most + self.classes > MOST_TALLIED:
            raise BadInput(
                f"boxes take at least one class and place, and 2 · most + classes up to {MOST_TALLIED}, got"
                f" {self.classes} classes, {self.places} places and most={self.most}"
            )
        if not 0 < self.confidence < 1 or not 0 <= self.overlap <= 1:
            raise BadInput(
                f"boxes have a confidence between 0 and 1 and an overlap from 0 to 1, got {self.confidence} and"
                f" {self.overlap}"
            )
        if self.names and len(self.names) != self.classes:
            raise BadInput(f"{self.classes} classes have {len(self.names)} names: name each class")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of every place, distance and generalised IoU of those that learn an object,
        per place that learns one.

        The four places whose present answers fit an object best by these three learn it; all others
        learn the background. One that overlaps an object at IoU above .5 may see its class as well:
        suppression drops it.
        """
        logits, boxes = outputs.split([self.classes + 1, CORNERS], 2)
        likely = logits.log_softmax(2)
        objects, learns, near = self._assigned(likely, boxes, targets)
        mine = targets.gather(1, objects[..., None].expand(-1, -1, targets.shape[2]))
        own = likely.gather(2, mine[..., :1].long().clamp_min(0)).squeeze(2)
        nothing = likely[..., -1]
        aim = own.where(learns, torch.logaddexp(own, nothing).where(near, nothing))
        apart = _apart(boxes[:, :, None], mine[:, :, None, 1:])[:, :, 0, 0] * learns
        total: Tensor = (apart.sum(1) - aim.sum(1)) / learns.sum(1).clamp_min(1)
        return total

    def _assigned(self, likely: Tensor, boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The object of each place (B, A): the one it learns, or else the one it overlaps most;
        whether it learns it, and whether it overlaps it at IoU above .5.
        """
        there = targets[:, None, :, 0] >= 0
        by_class = likely.gather(2, self._kinds(targets)[:, None].expand(-1, self.places, -1))
        cost = (_apart(boxes, targets[..., 1:]) - by_class).detach().masked_fill(~there, float("inf"))
        worst = cost.topk(min(ASSIGNED, self.places), dim=1, largest=False).values[:, -1:]
        chosen = (cost <= worst) & there
        near = iou(boxes.detach(), targets[..., 1:]).masked_fill(~there, 0.0)
        learns = chosen.any(2)
        objects = cost.masked_fill(~chosen, float("inf")).argmin(2).where(learns, near.argmax(2))
        return objects, learns, near.amax(2) >= FOUND

    @staticmethod
    def _kinds(targets: Tensor) -> Tensor:
        """The classes of the objects (B, M), 0 where there is none."""
        return targets[..., 0].long().clamp_min(0)

    def predictions(self, outputs: Tensor) -> Tensor:
        """The detections (B, D, 6) as targets are, and their confidence; class -1 where there are
        no more.
        """
        found = self._detected(*self._read(outputs))
        sure = (found.odds + self._least).sigmoid()
        return torch.cat([found.classes[..., None].to(sure), found.boxes, sure[..., None]], 2)

    @property
    def _least(self) -> float:
        """The log-odds of the least confidence that counts."""
        return math.log(self.confidence / (1 - self.confidence))

    def _read(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The likeliest class of each place (B, A); the log-odds of each class (B, A, K) less the
        least that count; the boxes (B, A, 4).
        """
        logits, boxes = outputs.split([self.classes + 1, CORNERS], 2)
        likely = logits.log_softmax(2)[..., : self.classes]
        kinds = likely.argmax(2, keepdim=True)
        others = logits.scatter(2, kinds, float("-inf")).logsumexp(2, keepdim=True)
        best = logits.gather(2, kinds) - others  # exact where the softmax is 1 in float32
        rest = likely - torch.log1p(-likely.exp().clamp_max(1 - TINY))
        return kinds.squeeze(2), rest.scatter(2, kinds, best) - self._least, boxes

    def _detected(self, kinds: Tensor, odds: Tensor, boxes: Tensor) -> Detections:
        """The detections that remain after suppression."""
        odds = odds.gather(2, kinds[..., None]).squeeze(2)
        place = suppressed(odds, kinds, boxes, self.most, self.overlap)
        there, at = place >= 0, place.clamp_min(0)
        boxes = boxes.gather(1, at[..., None].expand(-1, -1, CORNERS)) * there[..., None]
        nothing = torch.finfo(odds.dtype).min
        return Detections(kinds.gather(1, at).where(there, NONE), odds.gather(1, at).where(there, nothing), boxes)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return f1_of(*ways(self._detected(*self._read(outputs)), targets)).to(outputs.dtype)

    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        """Whether each score is below its floor (B,), or is 0; without a floor, below the first
        threshold.
        """
        kinds, odds, boxes = self._read(outputs)
        lost, invented = ways(self._detected(kinds, odds, boxes), targets)
        scores = f1_of(lost, invented).to(outputs.dtype)
        there = targets[..., 0] >= 0
        seen = odds.gather(2, self._kinds(targets)[:, None].expand(-1, self.places, -1))  # (B, A, M)
        fit = log_odds(iou(boxes, targets[..., 1:]))
        lost = lost.where(lost.isfinite() | ~there, torch.maximum(-seen, -fit).amin(1).clamp_min(0))
        margin = margin_of(lost, invented, torch.full_like(scores, self.thresholds[0]) if floor is None else floor)
        on = (fit.detach() >= 0) & there[:, None]
        losses = {"detection": self.loss(outputs, targets), "margin": margin, **self._spread(seen, odds, on)}
        return Verdict(losses, margin >= 0, scores=scores)

    def _spread(self, seen: Tensor, odds: Tensor, on: Tensor) -> dict[str, Tensor]:
        """Losses over all places, of which `on` (B, A, M) says which see an object."""
        lowest = torch.finfo(odds.dtype).min
        lost = -seen.masked_fill(~on, lowest).logsumexp(1)
        away = odds.amax(2).masked_fill(on.any(2), lowest)
        return {"lost": lost.where(on.any(1), lowest).amax(1), "invented": away.logsumexp(1)}

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        """How many objects of each class a target has; what an answer loses and invents."""
        if targets is None:
            return [self._named(each[each >= 0].long().tolist()) for each in answers[..., 0]]
        sure = answers[..., 5]
        odds = (torch.logit(sure) - self._least).where(answers[..., 0] >= 0, torch.finfo(sure.dtype).min)
        mistakes = ways(Detections(answers[..., 0].long(), odds, answers[..., 1:5]), targets)
        lost, invented = ((way >= 0).sum(1).tolist() for way in mistakes)
        return [_mistakes(*each) for each in zip(lost, invented, strict=True)]

    def _named(self, kinds: list[int]) -> str:
        counts = sorted(Counter(kinds).items())
        return ", ".join(f"{count} {self.name(kind)}" for kind, count in counts) or "nothing"

    def name(self, kind: int) -> str:
        """The name of a class."""
        return self.names[kind] if self.names else f"of class {kind}"

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """For each of `most` detections, 1024 times its class (-1 where there is none) and a bit
        for each IoU from .50 to .95 at which it finds an object; their confidences; the number of
        objects of each class.
        """
        answers = self.predictions(outputs)
        kinds = answers[..., 0].long()
        hits = matches(kinds, answers[..., 1:5], targets, STRICTNESS) >= 0
        codes = kinds * BITS + (hits * 2 ** torch.arange(len(STRICTNESS), device=hits.device)[:, None]).sum(1)
        counts = (targets[..., :1] == torch.arange(self.classes, device=targets.device)).sum(1)
        rest = self.most - codes.shape[1]
        padded = F.pad(codes, (0, rest), value=NONE * BITS), F.pad(answers[..., 5], (0, rest))
        return torch.cat([each.double() for each in (*padded, counts)], 1)

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        """COCO's mean average precision over IoU .50 to .95, at .50, and that of each class at .50.

        The means leave out classes that no target has.
        """
        codes, sure, counts = tallies.split([self.most, self.most, self.classes], 1)
        kinds = codes.div(BITS, rounding_mode="floor")
        total = counts.sum(0)
        found = {
            kind: self._precision(codes[kinds == kind].long(), sure[kinds == kind], int(total[kind]))
            for kind in total.nonzero().flatten().tolist()
        }
        if not found:
            return {}
        mean = torch.stack(list(found.values())).mean(0)
        each = {f"ap50 {self.name(kind)}": float(values[0]) for kind, values in found.items()}
        return {"map": float(mean.mean()), "map50": float(mean[0]), **each}

    @staticmethod
    def _precision(codes: Tensor, sure: Tensor, count: int) -> Tensor:
        bits = 2 ** torch.arange(len(STRICTNESS), device=codes.device)
        return average_precision(sure, (codes[:, None] & bits) > 0, count)


def _apart(ours: Tensor, theirs: Tensor) -> Tensor:
    """How far boxes (..., N, 4) and (..., M, 4) are from each other in training, (..., N, M)."""
    distance = (ours[..., :, None, :] - theirs[..., None, :, :]).abs().sum(-1)
    return DISTANCE * distance + COVER * (1 - generalised_iou(ours, theirs))


def _mistakes(lost: int, invented: int) -> str:
    mistakes = [f"{count} {what}" for count, what in ((lost, "lost"), (invented, "invented")) if count]
    return ", ".join(mistakes) or "right"


def _written(box: Tensor) -> str:
    return f"({', '.join(f'{value:g}' for value in box.tolist())})"
