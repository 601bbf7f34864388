"""How IRLC learns: self-critical policy gradient (Rennie et al., CVPR 2017), from the error of the
count alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.models.counting.backbone import counts_of
from harness.models.counting.counting_recipe import Detecting
from harness.models.counting.irlc import IRLC, NEVER, Scene, decided, margins
from harness.models.counting.regions import what_it_sees
from harness.models.option_types import NotNegative, OneOrMore, Positive, Share, ZeroOrMore
from harness.models.recipe import Stage
from harness.tasks import Batch, Task

SAMPLES = 5  # sequences drawn per question
ENTROPY, INTERACTION = 0.005, 0.005


@dataclass(frozen=True, eq=False)
class Rollout:
    """Sequences drawn from the policy; all (B,), of each sequence.

    Attributes:
        count: how many regions were counted.
        log_probability: of all its decisions, the last one to stop included.
        entropy: the mean over its decisions.
        interaction: the mean Huber norm of the interactions of the regions that were counted.
    """

    count: Tensor
    log_probability: Tensor
    entropy: Tensor
    interaction: Tensor


def rollout(scene: Scene, largest: int) -> Rollout:
    """Draw a sequence per scene: each decision from the softmax over the regions left and the
    stop.
    """
    fit = scene.fit
    alive = torch.ones(len(fit), dtype=torch.bool, device=fit.device)
    left = torch.ones_like(fit, dtype=torch.bool)
    count, decisions, log_probability, entropy, interaction = (
        torch.zeros(len(fit), device=fit.device) for _ in range(5)
    )
    for _ in range(largest):
        logits = torch.cat([fit.masked_fill(~left, 2 * NEVER), scene.stop.expand(len(fit), 1)], 1).log_softmax(1)
        choice = torch.multinomial(logits.detach().exp(), 1)
        log_probability = log_probability + logits.gather(1, choice).squeeze(1) * alive
        entropy = entropy - (logits.exp() * logits).sum(1) * alive
        decisions = decisions + alive
        alive = alive & (choice.squeeze(1) < fit.shape[1])
        row = choice.clamp_max(fit.shape[1] - 1)
        moved = scene.interaction.gather(1, row[:, :, None].expand(-1, 1, fit.shape[1])).squeeze(1) * alive[:, None]
        interaction = interaction + F.huber_loss(moved, torch.zeros_like(moved), reduction="none").mean(1)
        fit, left, count = fit + moved, left.scatter(1, row, left.gather(1, row) & ~alive[:, None]), count + alive
    return Rollout(count, log_probability, entropy / decisions, interaction / count.clamp_min(1))


def policy_loss(drawn: Rollout, greedy: Tensor, truth: Tensor) -> Tensor:
    """-R log p of each sequence, R = E_greedy - E_drawn the error that drawing avoided; nothing
    where both count alike.
    """
    reward = (greedy - truth).abs() - (drawn.count - truth).abs()
    return -reward * drawn.log_probability


class SelfCritical(Detecting):
    """Self-critical policy gradient on IRLC's decisions, with an entropy bonus and small
    interactions.
    """

    def __init__(
        self,
        learning_rate: Positive = 5e-4,
        epochs: OneOrMore = 40,
        batch_size: OneOrMore = 64,
        detect: ZeroOrMore = 10,
        mirror: bool = False,
        ground: NotNegative = 1.0,
        middle: Share = 0.0,
        jitter: Share = 0.0,
        cutmix: Share = 0.0,
    ) -> None:
        super().__init__(
            learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            detect=detect,
            mirror=mirror,
            ground=ground,
            middle=middle,
            jitter=jitter,
            cutmix=cutmix,
        )

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage over all parameters.

        Raises:
            BadInput: the model is not IRLC.
        """
        if not any(isinstance(part, IRLC) for part in model.modules()):
            raise BadInput(
                "recipe 'irlc' trains the decisions of IRLC, which this model does not make: train model 'irlc'"
            )
        return super().setup(model, task, epochs)

    def counted(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean over five drawn sequences per question."""
        head, regions, question = what_it_sees(self.model, batch.inputs, batch.present)
        assert isinstance(head, IRLC)
        scene = head.scene(regions, question)
        truth = counts_of(self.task).truth(batch.targets).float()
        with torch.no_grad():
            greedy = decided(margins(scene, head.largest)[0]).argmax(1).float()
        many = Scene(scene.fit.repeat(SAMPLES, 1), scene.interaction.repeat(SAMPLES, 1, 1), scene.stop)
        drawn = rollout(many, head.largest)
        loss = policy_loss(drawn, greedy.repeat(SAMPLES), truth.repeat(SAMPLES))
        return (loss - ENTROPY * drawn.entropy + INTERACTION * drawn.interaction).mean()
