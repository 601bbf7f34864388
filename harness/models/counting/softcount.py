"""SoftCount (Trott, Xiong & Socher, ICLR 2018): the count is a sum of how much each region belongs
to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import preserved
from harness.models.counting.backbone import Fit, counts_of
from harness.models.counting.counting_recipe import Detecting
from harness.models.counting.regions import FIXED, REGION, GatedTanh, Regions, of_regions
from harness.models.option_types import NotNegative, OneOrMore, Positive, Share, ZeroOrMore
from harness.models.recipe import Stage
from harness.tasks import Task
from harness.tasks.problems.counts import count_logits, count_of

SHOWN = 4  # samples on which a model's answers are checked


class SoftCount(nn.Module):
    """Σ_i σ(W s_i) over regions, s_i = GTU([q, v_i]), as logits of counts."""

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.largest = largest
        self.score, self.weigh = GatedTanh(), Fit(REGION, 1)

    def forward(self, regions: Regions, question: Tensor) -> Tensor:
        """Logits (B, largest + 1)."""
        return count_logits(self.weights(regions, question).sum(1), self.largest)

    def weights(self, regions: Regions, question: Tensor) -> Tensor:
        """How much each region counts, (B, n) from 0 to 1."""
        share: Tensor = self.weigh(self.score(regions.features, question)).squeeze(2).sigmoid()
        return share * regions.real


def softcount(task: Task, proposals: str = FIXED) -> nn.Module:
    """SoftCount: each region counts between 0 and 1 by a sigmoid of its fit to the question; the
    count is the sum.

    Args:
        proposals: see `of_regions`.

    Raises:
        BadInput: the task has no counts, or has no image, question or proposals.
    """
    return of_regions(task, SoftCount(counts_of(task).shape[0] - 1), proposals)


class HuberCount(Detecting):
    """The Huber loss of a real-valued count, after learning to detect. It is for models whose
    answer is `count_logits` of a real-valued count, such as softcount.
    """

    def __init__(
        self,
        learning_rate: Positive = 3e-3,
        epochs: OneOrMore = 20,
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
            BadInput: the task has no counts, or the model does not answer a real-valued count.
        """
        counts_of(task)
        train = task.splits["train"]
        few = train.take(range(min(SHOWN, len(train)))).to(next(model.parameters()).device)
        with preserved(model), torch.no_grad():
            outputs = model(few.inputs, few.present)
        if not torch.allclose(outputs.diff(n=2), torch.full_like(outputs[:, 2:], -2.0), rtol=1e-2, atol=1e-1):
            raise BadInput(
                "recipe 'softcount' takes a real-valued count, which this model does not answer: train model"
                " 'softcount'"
            )
        return super().setup(model, task, epochs)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.huber_loss(count_of(outputs), counts_of(self.task).truth(targets).to(outputs.dtype))
