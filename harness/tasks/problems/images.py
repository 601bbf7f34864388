"""An image for an image: translation between domains, judged against the target image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import Verdict
from harness.tasks.problems.distances import Extractor, fid, kid
from harness.tasks.problems.problem import MOST_TALLIED

WINDOW, SIGMA = 11, 1.5  # of SSIM (Wang et al., 2004)
STABLE = (0.01, 0.03)  # SSIM's constants, as shares of the range
TINY = 1e-12
MEASURED = 3  # numbers of a tally before the features
WIDEST = (MOST_TALLIED - MEASURED) // 2  # features


@dataclass(frozen=True)
class Images:
    """An image (C, H, W); outputs and targets (B, C, H, W) in [low, high].

    The score is 1 - e / (2 · worst), from 0 to 1, where e is the mean absolute error: answers with
    an error of twice `worst` or more score 0. A sample has failed when its score falls below a
    share of its untouched score.

    Attributes:
        size: (C, H, W).
        span: (low, high), the range of the values.
        extractor: of features; only with it are FID and KID measured.
        worst: the mean absolute error at which half of the score is left, as a share of the range.
        thresholds: shares of the untouched score.
    """

    size: tuple[int, int, int]
    span: tuple[float, float] = (0.0, 1.0)
    worst: float = 0.1
    thresholds: tuple[float, ...] = (0.5,)
    extractor: Extractor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    @property
    def _range(self) -> float:
        return self.span[1] - self.span[0]

    def check_targets(self, targets: Tensor) -> None:
        if not self._range > 0 or not self.worst > 0:
            raise BadInput(f"images need a range and an error above 0, got {self.span} and {self.worst}")
        if self.extractor is not None and self.extractor.width > WIDEST:
            raise BadInput(
                f"extractor {self.extractor.name!r} has {self.extractor.width} features: give at most {WIDEST}, since a"
                f" tally holds {MOST_TALLIED} numbers"
            )
        if not targets.is_floating_point() or tuple(targets.shape[1:]) != self.size:
            raise BadInput(
                f"targets have shape {tuple(targets.shape)} of {targets.dtype}: give images, real numbers"
                f" (N, {', '.join(map(str, self.size))})"
            )
        if not bool(((targets >= self.span[0]) & (targets <= self.span[1])).all()):
            raise BadInput(f"targets reach beyond {self.span}: scale them, or give the problem their range (span)")

    def _error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean absolute error, as a share of the range, (B,)."""
        return (outputs - targets).abs().flatten(1).mean(1) / self._range

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._error(outputs, targets)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.clamp(*self.span)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (1 - self._error(outputs, targets) / (2 * self.worst)).clamp(0, 1)

    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        """Whether each score is below its floor (B,); without a floor, below the first
        threshold.
        """
        error, scores = self._error(outputs, targets), self.score(outputs, targets)
        floor = torch.full_like(scores, self.thresholds[0]) if floor is None else floor
        allowed = (2 * self.worst * (1 - floor)).to(error.dtype)
        return Verdict({"error": error, "margin": error - allowed}, error > allowed, scores=scores.detach())

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        """The mean of a target; how far an answer is off."""
        if targets is None:
            return [f"mean {value:.3g}" for value in answers.flatten(1).mean(1).tolist()]
        return [f"L1 {value:.3f}" for value in self._error(answers, targets).tolist()]

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean absolute error, mean square error and SSIM, values as shares of the range; then the
        features of the answer and of the target.
        """
        answers = self.predictions(outputs)
        square = (answers - targets).square().flatten(1).mean(1) / self._range**2
        measured = torch.stack([self._error(answers, targets), square, ssim(answers, targets, self._range)], 1)
        return torch.cat([measured.double(), *(self._features(each) for each in (answers, targets))], 1)

    def _features(self, images: Tensor) -> Tensor:
        """(B, width), or (B, 0) without an extractor."""
        if self.extractor is None:
            return images.new_zeros(len(images), 0, dtype=torch.float64)
        with torch.no_grad():
            return self.extractor(images).double()

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        """L1, PSNR in decibels (the mean over images), SSIM, and with an extractor KID, and FID if
        there are more images than features.
        """
        error, square, alike = tallies[:, :MEASURED].unbind(1)
        ratio = 10 * torch.log10(1 / square.clamp_min(TINY))
        found = {"l1": error.mean().item(), "psnr": ratio.mean().item(), "ssim": alike.mean().item()}
        return found | self._distances(tallies[:, MEASURED:])

    def _distances(self, features: Tensor) -> dict[str, float]:
        if self.extractor is None or len(features) < 2:
            return {}
        ours, theirs = features.split(self.extractor.width, 1)
        found = {f"kid_{self.extractor.name}": kid(ours, theirs)}
        return found | ({f"fid_{self.extractor.name}": fid(ours, theirs)} if len(ours) > self.extractor.width else {})


def ssim(ours: Tensor, theirs: Tensor, span: float) -> Tensor:
    """Structural similarity (Wang et al., IEEE TIP 2004) of images (B, C, H, W), (B,).

    An 11x11 Gaussian window (smaller on smaller images), reflected at the borders as torchmetrics
    does; the mean over channels and places.
    """
    shortest = min(ours.shape[-2:])
    size = min(WINDOW, shortest - (shortest + 1) % 2)
    side = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    line = torch.exp(-side.square() / (2 * SIGMA**2))
    window = torch.outer(line, line) / line.sum().square()
    channels = ours.shape[1]
    kernel = window.to(ours).expand(channels, 1, size, size)

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, [size // 2] * 4, mode="reflect"), kernel, groups=channels)

    one, other = mean(ours), mean(theirs)
    spread = mean(ours.square()) - one.square(), mean(theirs.square()) - other.square()
    both = mean(ours * theirs) - one * other
    first, second = ((share * span) ** 2 for share in STABLE)
    luminance = (2 * one * other + first) / (one.square() + other.square() + first)
    structure = (2 * both + second) / (spread[0] + spread[1] + second)
    return (luminance * structure).flatten(1).mean(1)
