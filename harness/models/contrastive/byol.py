"""BYOL (Grill et al., Bootstrap your own latent, NeurIPS 2020): no negatives, a target that follows
the online network.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.contrastive.augmentations import augmentation
from harness.models.contrastive.losses import regression
from harness.models.contrastive.pretraining import Pretraining
from harness.models.contrastive.probed import BYOL_OUT, predictor, probe_of, probed, projector
from harness.models.fused import Fused
from harness.models.option_types import OneOrMore, Share, TwoOrMore
from harness.models.recipe import Stage
from harness.tasks import Batch, Task


def byol(task: Task, modality: str, norm: bool = True) -> Fused:
    """BYOL's encoder of one modality with its projector and predictor, under a linear probe (recipe
    byol).
    """
    return probed(task, [task.modality(modality).name], [projector(BYOL_OUT, norm=norm)], predictor(norm))


class BYOL(Pretraining):
    """BYOL: the online network predicts the projection of another view by a slowly following
    target; then a linear probe.

    Args:
        momentum: τ₀ of the target, which rises to 1 with half a cosine: .97 for 40 epochs, .99 for
            100, .996 for 1,000.
        predicts, stops, follows: switch the predictor, the stop-gradient and the momentum off (then
            the target is the online network itself), to see the effect of each.
        others: see `Pretraining`.
    """

    def __init__(
        self,
        momentum: Share = 0.97,
        batch_size: TwoOrMore = 256,
        epochs: OneOrMore = 40,
        tuned: bool = False,
        predicts: bool = True,
        stops: bool = True,
        follows: bool = True,
    ) -> None:
        super().__init__(batch_size, epochs, tuned)
        self.momentum, self.predicts, self.stops, self.follows = momentum, predicts, stops, follows

    def prepare(self, model: Fused, task: Task) -> list[nn.Parameter]:
        """The encoder, projector and predictor learn; the target starts as a copy of the first two.

        Raises:
            BadInput: the model is not BYOL's.
        """
        probe = probe_of(model)
        if probe.predictor is None:
            raise BadInput("recipe 'byol' trains a predictor, which this model does not have: train byol-image, say")
        self.view = augmentation(task.modality(model.encoded[0]))
        self.online = nn.Sequential(*model.encoders.values(), probe.projectors[0])
        self.predictor = probe.predictor if self.predicts else nn.Identity()
        self.target = copy.deepcopy(self.online).requires_grad_(False) if self.follows else self.online
        return [*self.online.parameters(), *self.predictor.parameters()]

    def loss(self, batch: Batch) -> Tensor:
        """2 - 2 cos of prediction and target, both directions summed, the mean over the batch; in
        [0, 8].

        The target normalises by its own batch, as the online network does: its running statistics
        are its own too, and are not averaged.
        """
        views = self.views(batch, self.view)
        predictions = self.predictor(self.online(views))
        with torch.set_grad_enabled(not self.stops):
            one, other = self.target(views).chunk(2)
        return 2 * regression(predictions, torch.cat([other, one])).mean()

    def after_step(self, stage: Stage) -> None:
        """The target follows: target ← τ target + (1 - τ) online."""
        if stage is self.first and self.follows:
            follow(self.target, self.online, risen(self.momentum, self.steps / self.total))
        super().after_step(stage)


def risen(momentum: float, progress: float) -> float:
    """τ_k = 1 - (1 - τ₀)(1 + cos(π k/K)) / 2, at k/K."""
    return 1 - (1 - momentum) * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Move the parameters of the target; not its buffers."""
    for mine, theirs in zip(target.parameters(), online.parameters(), strict=True):
        mine.lerp_(theirs, 1 - momentum)
