"""A class for every pixel: segmentation, judged by the share of right pixels and by mIoU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import LossesOnDemand, Parts, Verdict
from harness.tasks.problems.problem import MOST_TALLIED, ahead

COUNTED = 3  # numbers of a class in a tally: hits, pixels of it, pixels that are answered as it
ROUNDING = 1e-6  # of a number of pixels, as a share of it
RIVALS = 6  # wrong classes of a pixel that an attack looks at
NAMED = 3  # classes that the label of a target names


def _masked_cross_entropy(own: Tensor, likely: Tensor, wrong: Tensor) -> Tensor:
    return -own * ~wrong


def _cospgd(own: Tensor, likely: Tensor, wrong: Tensor) -> Tensor:
    with torch.no_grad():
        cosine: Tensor = own.exp() / torch.linalg.vector_norm(likely.exp(), dim=1)
    return -own * cosine


def _jensen_shannon(own: Tensor, likely: Tensor, wrong: Tensor) -> Tensor:
    found: Tensor = math.log(2) + (own.exp() * own - (1 + own.exp()) * own.exp().log1p()) / 2
    return found


def _wrong_cross_entropy(own: Tensor, likely: Tensor, wrong: Tensor) -> Tensor:
    return -own * wrong


LOSSES: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "masked_cross_entropy": _masked_cross_entropy,
    "cospgd": _cospgd,
    "jensen_shannon": _jensen_shannon,
    "wrong_cross_entropy": _wrong_cross_entropy,
}
"""The loss of each pixel (B, H, W), from the log-probabilities of its class (B, H, W) and of all
classes (B, K, H, W), and whether it is wrong, bool (B, H, W)."""


@dataclass(frozen=True)
class Segmentation:
    """One of K classes for each pixel; outputs are logits (B, K, H, W), targets int64 (B, H, W).

    The score is the share of right pixels. A sample has failed when its score falls below a share
    of its untouched score, a threshold: with C of N pixels right untouched and threshold τ, when
    N - ceil(τ C) + 1 pixels are wrong. A tie of logits is a wrong pixel.

    The losses are the cross-entropy of not-yet-wrong pixels (a mean over all would be spent on what
    is lost), CosPGD's (Agnolucci et al., 2023), the Jensen-Shannon divergence (SEA, Croce et al.,
    ECCV 2024), and the cross-entropy of wrong pixels, which SegPGD (Gu et al., ECCV 2022) adds.

    Attributes:
        classes: K.
        size: (H, W).
        ignore: the target of pixels that no loss, score or metric counts.
        names: of the classes, for legends and tables; their numbers where absent.
        thresholds: shares of the untouched score.
    """

    classes: int
    size: tuple[int, int]
    ignore: int = 255
    names: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = (0.5,)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.classes, *self.size)

    def check_targets(self, targets: Tensor) -> None:
        self._check_classes()
        if targets.dtype != torch.int64 or tuple(targets.shape[1:]) != self.size:
            raise BadInput(
                f"targets have shape {tuple(targets.shape)} of {targets.dtype}: a segmentation takes maps of classes,"
                f" int64 (N, {self.size[0]}, {self.size[1]})"
            )
        known = (targets >= 0) & (targets < self.classes) | (targets == self.ignore)
        if len(strange := targets[~known]):
            raise BadInput(
                f"targets hold class {int(strange[0])}: number the {self.classes} classes from 0, and write"
                f" {self.ignore} where a pixel is to be ignored"
            )
        if len(empty := (targets == self.ignore).flatten(1).all(1).nonzero().flatten()):
            first = f", the first is number {int(empty[0])}" if len(targets) > 1 else ""
            raise BadInput(f"{len(empty)} of {len(targets)} samples have no pixel that counts{first}: leave them out")

    def __post_init__(self) -> None:
        if not isinstance(self.size, tuple | list) or len(self.size) != 2:
            raise BadInput(f"a segmentation has size {self.size!r}: give the height and the width of a map")
        object.__setattr__(self, "size", tuple(self.size))

    def _check_classes(self) -> None:
        most = MOST_TALLIED // COUNTED
        if not 2 <= self.classes <= most:
            raise BadInput(f"a segmentation takes 2 to {most} classes, got {self.classes}")
        if self.names and len(self.names) != self.classes:
            raise BadInput(f"{self.classes} classes have {len(self.names)} names: name each class")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        each = F.cross_entropy(outputs, targets, reduction="none", ignore_index=self.ignore)
        return self._mean(each, targets)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._mean(self._margins(outputs, targets) < 0, targets)

    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        """Whether each score is below its floor (B,); without a floor, below the first
        threshold.
        """
        margins, count = self._margins(outputs, targets), self._counted(targets)
        wrong = margins >= 0
        failed = wrong.flatten(1).sum(1)
        scores = 1 - failed / count
        quota = self._quota(count, torch.full_like(scores, self.thresholds[0]) if floor is None else floor)
        losses = {name: partial(self._loss, name, outputs, targets, wrong) for name in LOSSES}
        losses |= {"margin": partial(_last_to_fail, margins, quota)}
        parts = Parts(margins, quota, partial(self._rivals, outputs, targets))
        return Verdict(LossesOnDemand(losses), failed >= quota, scores=scores.detach(), parts=parts)

    def _loss(self, name: str, outputs: Tensor, targets: Tensor, wrong: Tensor) -> Tensor:
        likely = outputs.log_softmax(1)
        own = likely.gather(1, self._own(targets)).squeeze(1)
        return self._mean(LOSSES[name](own, likely, wrong), targets)

    def _margins(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The best wrong logit less the right one, (B, H, W); -inf where a pixel is ignored."""
        return self._rivals(outputs, targets, 1).squeeze(1)

    def _rivals(self, outputs: Tensor, targets: Tensor, most: int = RIVALS) -> Tensor:
        """The same of the best wrong logits, largest first, (B, R, H, W), at most so many.

        They are looked up twice: the graph of a gather holds no copy of the outputs.
        """
        own = self._own(targets)
        with torch.no_grad():
            wrong = outputs.scatter(1, own, float("-inf"))
            best = wrong.argmax(1, keepdim=True) if most == 1 else wrong.topk(min(most, self.classes - 1), 1).indices
        rivals, right = outputs.gather(1, torch.cat([best, own], 1)).split([best.shape[1], 1], 1)
        found: Tensor = (rivals - right).where((targets != self.ignore)[:, None], float("-inf"))
        return found

    def _own(self, targets: Tensor) -> Tensor:
        """The class of each pixel, (B, 1, H, W), the first where it is ignored."""
        return targets.where(targets != self.ignore, 0)[:, None]

    def _counted(self, targets: Tensor) -> Tensor:
        return (targets != self.ignore).flatten(1).sum(1)

    def _mean(self, each: Tensor, targets: Tensor) -> Tensor:
        """Over the pixels of a sample that are not ignored, where `each` is 0, (B,)."""
        total = each.where(targets != self.ignore, torch.zeros((), dtype=each.dtype, device=each.device))
        return total.flatten(1).sum(1) / self._counted(targets)

    @staticmethod
    def _quota(count: Tensor, floor: Tensor) -> Tensor:
        """How many pixels must be wrong, at least one, at most all."""
        kept = ((floor.double() - ROUNDING) * count).ceil().long()
        return torch.minimum((count - kept + 1).clamp_min(1), count)

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        """The largest classes of a target; the mean IoU of an answer."""
        if targets is None:
            return [self._largest(each) for each in answers]
        return [f"IoU {_known_mean(_ious(each)):.2f}" for each in self._confusions(answers, targets)]

    def _largest(self, targets: Tensor) -> str:
        valid = targets[targets != self.ignore]
        shares = torch.bincount(valid, minlength=self.classes).double() / len(valid)
        places = [place for place in shares.argsort(descending=True, stable=True)[:NAMED].tolist() if shares[place] > 0]
        return ", ".join(f"{self.name(place)} {100 * float(shares[place]):.0f} %" for place in places)

    def name(self, place: int) -> str:
        """The name of a class."""
        return self.names[place] if self.names else str(place)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._confusions(ahead(outputs, self._own(targets).squeeze(1)), targets).flatten(1)

    def _confusions(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Per class: hits, pixels of it and pixels answered as it, (B, K, 3), float64."""
        valid = (targets != self.ignore).flatten(1)
        truth, answer = targets.where(targets != self.ignore, 0).flatten(1), answers.flatten(1)
        hits, actual, predicted = (
            torch.zeros(len(targets), self.classes, dtype=torch.float64, device=targets.device).scatter_add(
                1, classes, counted.double()
            )
            for classes, counted in ((truth, valid & (truth == answer)), (truth, valid), (answer, valid))
        )
        return torch.stack([hits, actual, predicted], 2)

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        """Pixel accuracy, the mean recall of classes, their mean IoU, and the IoU of each.

        Classes that neither the targets nor the answers hold are left out of the means, and the
        class whose pixels are ignored.
        """
        total = tallies.double().reshape(len(tallies), self.classes, COUNTED).sum(0)
        hits, truth, _ = total.unbind(1)
        recalls = [hit / count if count else None for hit, count in zip(hits.tolist(), truth.tolist(), strict=True)]
        ious = _ious(total)
        if 0 <= self.ignore < self.classes:
            ious[self.ignore] = None
        each = {f"iou {self.name(place)}": value for place, value in enumerate(ious) if value is not None}
        means = {"mean_accuracy": _known_mean(recalls), "miou": _known_mean(ious)}
        return {"pixel_accuracy": float(hits.sum() / truth.sum()), **means, **each}


def _last_to_fail(margins: Tensor, quota: Tensor) -> Tensor:
    """The margin of the last part that has to fail, (B,): the `quota`-th largest."""
    return margins.flatten(1).sort(1, descending=True).values.gather(1, quota[:, None] - 1).squeeze(1)


def _ious(total: Tensor) -> list[float | None]:
    """Per class, the intersection over the union, from (K, 3); None where there is neither."""
    hits, unions = total[:, 0].tolist(), (total[:, 1] + total[:, 2] - total[:, 0]).tolist()
    return [hit / union if union else None for hit, union in zip(hits, unions, strict=True)]


def _known_mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0
