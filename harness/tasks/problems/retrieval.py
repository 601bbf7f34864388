"""Retrieval between modalities: a query must find its item among those of a gallery."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import Verdict

RECALLS = (1, 5, 10)  # the ranks at which the field counts


@dataclass(frozen=True)
class Retrieval:
    """The item of a query in a gallery of G; outputs are similarities (B, 1 + G), targets the item
    of each query, int64 (B,).

    A sample is a pair: a query in one modality and its item in another. Column 0 is the similarity
    of the query to its own item as both are in the sample now. The other columns are its similarity
    to the G items of the gallery, which the model holds: it embeds them once, untouched, when it is
    built. Column 1 + target holds the untouched copy of the own item, which does not count.

    The scenario says which side is attacked. An attack on the query's modality leaves the whole
    gallery as it was; an attack on the item's modality changes this item of the gallery, and no
    other; an attack on both does both. The other items are always held: every sample is judged
    alone. The opposite direction is a task of its own, with the sides exchanged.

    The gallery depends on the model, so a problem, which several models share, cannot keep it.

    A sample fails where `within` items or more are as similar as its own. Its score is 1 where it
    does not fail.

    Attributes:
        items: G.
        within: the worst rank that is right.
    """

    items: int
    within: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (1 + self.items,)

    def check_targets(self, targets: Tensor) -> None:
        if self.items < 2 or not 1 <= self.within < self.items:
            raise BadInput(
                "a retrieval needs at least 2 items, and a rank from 1 to one below their number, got"
                f" {self.items} items and within={self.within}"
            )
        if targets.dtype != torch.int64 or targets.ndim != 1:
            raise BadInput(
                f"targets have shape {tuple(targets.shape)} of {targets.dtype}: give the number of each query's item,"
                " int64 (N,)"
            )
        if len(strange := targets[(targets < 0) | (targets >= self.items)]):
            raise BadInput(f"targets hold item {int(strange[0])}: number the {self.items} items from 0")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy of the own item among all; similarities are logits, divided by the
        model's temperature.
        """
        return F.cross_entropy(self._others_held(outputs, targets), torch.zeros_like(targets), reduction="none")

    def _others_held(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The similarities without the held copy of the own item, -inf."""
        return outputs.scatter(1, 1 + targets[:, None], float("-inf"))

    def _rivals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How far each item is ahead of the own one (B, 1 + G), -inf at the own one."""
        ahead = self._others_held(outputs, targets) - outputs[:, :1]
        return torch.cat([torch.full_like(ahead[:, :1], float("-inf")), ahead[:, 1:]], 1)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 1.0 - self.verdict(outputs, targets).fails.float()

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        """The margin is how far the rival of rank `within` is ahead of the own item."""
        rivals = self._rivals(outputs, targets)
        margin = rivals.topk(self.within, dim=1).values[:, -1]
        losses = {"cross_entropy": self.loss(outputs, targets), "margin": margin}
        return Verdict(losses, margin >= 0, rivals if self.within == 1 else None)

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        """The number of a target's item; the rank that an answer gives it."""
        if targets is None:
            return [f"item {number}" for number in answers.tolist()]
        return [f"rank {rank}" for rank in self._ranks(answers, targets).tolist()]

    def _ranks(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """From 1; ties stand before the own item, (B,)."""
        return 1 + (self._rivals(outputs, targets) >= 0).sum(1)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The rank of the own item."""
        return self._ranks(outputs, targets)[:, None].double()

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        """Recall at 1, 5 and 10, and the median rank."""
        ranks = tallies[:, 0]
        recalls = {f"recall@{most}": (ranks <= most).double().mean().item() for most in RECALLS if most <= self.items}
        return {**recalls, "median_rank": ranks.quantile(0.5).item()}
