"""Channel exchange for translation (CEN, Wang et al., NeurIPS 2020).

Each image has its own pass through one U-Net: convolutions are shared, norms are private. Where the
scale γ of a norm in the encoder is small, its channel is of no use to that branch, and takes what
the other branches have there. The ensemble is a learnt mean of the branches' images.

Dropout is off in evaluation, where published code keeps it on (see `pix2pix`). Published training
starts γ at 1 with a penalty of 1e-3. It has 300,000 steps: in the thousand of a brief training γ
would never fall below the threshold, so ours starts at 0.2 with a larger penalty. The card of a
checkpoint has the share of exchanged channels by level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attacks.region import Inputs
from harness.models.dense.exchange import ensembled, exchanged, penalised, share, widest
from harness.models.dense.pix2pix import Decoder, Encoder, Lesson, Translator, started, widths
from harness.models.option_types import NotNegative, OneOrMore, TwoOrMore
from harness.tasks import Task


class CenTranslation(Translator):
    """One branch per image and their ensemble.

    Attributes:
        alpha: one number per branch; the ensemble's weights are their softmax.
    """

    def __init__(
        self,
        task: Task,
        names: Sequence[str],
        theta: float,
        sparsity: float,
        gamma: float,
        width: int,
        levels: int,
    ) -> None:
        super().__init__(task, names, levels)
        self.theta, self.sparsity = theta, sparsity
        self.channels, wide = widest(task, names), widths(width, levels)
        self.encoder = Encoder([self.channels, *wide], branches=len(names))
        self.decoder = Decoder(wide, task.problem.shape[0], branches=len(names))
        self.alpha = nn.Parameter(torch.zeros(len(names)))
        started(self)
        for scale in (scale for scales in self.scales() for scale in scales):
            nn.init.constant_(scale, gamma)

    def scales(self) -> list[list[Tensor]]:
        """By level where channels are exchanged, γ (C) of each branch."""
        levels = zip(*self.encoder.norms, strict=True)
        return [[norm.weight for norm in norms] for norms in levels if isinstance(norms[0], nn.InstanceNorm2d)]

    def branches(self, images: Sequence[Tensor], here: Tensor) -> list[Tensor]:
        """An image (B, C, H, W) in [-1, 1] of each branch."""
        maps = list(images)
        kept: list[list[Tensor]] = [[] for _ in images]
        for level in range(len(self.encoder.convolutions)):
            maps = [self.encoder.halved(x, level, branch) for branch, x in enumerate(maps)]
            norms = [each[level] for each in self.encoder.norms]  # type: ignore[index]
            if isinstance(norms[0], nn.InstanceNorm2d):
                maps = exchanged(maps, [norm.weight for norm in norms], self.theta, here)
            for taken, x in zip(kept, maps, strict=True):
                taken.append(x)
        return [self.decoder(taken, branch) for branch, taken in enumerate(kept)]

    def tiled(self, inputs: Inputs, present: Tensor | None = None) -> list[Tensor]:
        """The images with as many channels each, (B, C, H, W) in [-1, 1]."""
        return [x.expand(-1, self.channels, -1, -1) for x in self.read(inputs, present)]

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """The ensemble of the images that are present."""
        images = self.tiled(inputs, present)
        here = self.here(images, present)
        return self.scaled(ensembled(self.branches(images, here), self.alpha, here))

    def lesson(self, inputs: Inputs) -> Lesson:
        """Each branch, seen beside its image; an ensemble that moves α only; γ's penalty."""
        images = self.tiled(inputs)
        here = self.here(images, None)
        drawn = self.branches(images, here)
        together = ensembled([each.detach() for each in drawn], self.alpha, here)
        penalty = torch.stack([penalised(scales) for scales in self.scales()]).sum()
        return Lesson(images, drawn, together, self.sparsity * penalty)

    def measured(self) -> dict[str, float]:
        """The share of channels that each branch takes from others, by level, and its weight in the
        ensemble.
        """
        shares = {
            f"exchanged {level} {name}": share(scale, self.theta)
            for level, scales in enumerate(self.scales(), 2)
            for name, scale in zip(self.encoded, scales, strict=True)
        }
        weights = self.alpha.detach().softmax(0).tolist()
        return shares | {f"weight_{name}": weight for name, weight in zip(self.encoded, weights, strict=True)}


def cen_translation(
    task: Task,
    theta: NotNegative = 1e-2,
    sparsity: NotNegative = 3e-2,
    gamma: NotNegative = 0.2,
    width: OneOrMore = 16,
    levels: TwoOrMore = 4,
) -> CenTranslation:
    """CEN for translation: branches of shared convolutions exchange channels; their ensemble
    answers.

    As published: gamma=1&sparsity=1e-3&width=64&levels=8.

    Args:
        theta: a channel is exchanged where |γ| is below it.
        sparsity: the weight of Σ|γ| in recipe 'pix2pix'.
        gamma: where γ starts.
        width, levels: see `harness.models.dense.pix2pix.pix2pix`.

    Raises:
        BadInput: the task asks for no image, an image cannot be halved so often, or the images
            differ in their channels.
    """
    return CenTranslation(task, task.names, theta, sparsity, gamma, width, levels)
