"""Several classifications of one sample at once, right only where all are: a verb and a noun make
an action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.objective import Verdict, classification_verdict
from harness.tasks.problems.problem import OneNumber, ahead


@dataclass(frozen=True)
class Heads(OneNumber):
    """One class of each head; outputs are all heads' logits side by side (B, ΣK), targets int64
    (B,).

    A target is the number of the combination, the last head counting fastest: with verbs and N
    nouns, ``verb · N + noun``. As the heads are independent, softmax(verb) ⊗ softmax(noun) is
    largest where both are, and its cross-entropy is the sum of both.

    Attributes:
        names: of the heads, as metrics write them.
        sizes: the number of classes of each.
        together: the name of a combination.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    together: str = "all"

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(self.sizes),)

    @property
    def combinations(self) -> int:
        """How many targets there are."""
        return math.prod(self.sizes)

    def join(self, labels: list[Tensor]) -> Tensor:
        """The number (B,) of the combination of each head's labels (B,)."""
        number = torch.zeros_like(labels[0])
        for size, label in zip(self.sizes, labels, strict=True):
            number = number * size + label
        return number

    def split(self, numbers: Tensor) -> list[Tensor]:
        """Each head's labels (B,) of combinations (B,)."""
        labels = []
        for size in reversed(self.sizes):
            labels.append(numbers % size)
            numbers = numbers // size
        return labels[::-1]

    def check_targets(self, targets: Tensor) -> None:
        if len(self.names) != len(self.sizes) or min(self.sizes, default=0) < 2:
            raise BadInput(f"every head needs a name and at least 2 classes, got {self.names} with {self.sizes}")
        if (
            targets.dtype != torch.int64
            or targets.ndim != 1
            or not bool(((targets >= 0) & (targets < self.combinations)).all())
        ):
            raise BadInput(
                f"targets must number combinations of {self.names}: int64 from 0 to {self.combinations - 1}, one per"
                " sample"
            )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        heads = zip(outputs.split(self.sizes, 1), self.split(targets), strict=True)
        return torch.stack([F.cross_entropy(logits, labels, reduction="none") for logits, labels in heads]).sum(0)

    def predictions(self, outputs: Tensor) -> Tensor:
        return self.join([logits.argmax(1) for logits in outputs.split(self.sizes, 1)])

    def answered(self, outputs: Tensor, targets: Tensor) -> Tensor:
        heads = zip(outputs.split(self.sizes, 1), self.split(targets), strict=True)
        return self.join([ahead(logits, labels) for logits, labels in heads])

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 1.0 - self.verdict(outputs, targets).fails.float()

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        """A sample fails where any head does: its margin is the largest of theirs."""
        labels = self.split(targets)
        heads = [
            classification_verdict(logits, y) for logits, y in zip(outputs.split(self.sizes, 1), labels, strict=True)
        ]
        margin = torch.stack([head.losses["margin"] for head in heads]).amax(0)
        losses = {"cross_entropy": self.loss(outputs, targets), "margin": margin}
        return Verdict(
            losses,
            margin >= 0,
            _as_one_classifier([head.margins for head in heads if head.margins is not None], labels),
        )

    def measured(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        pairs = zip(self.split(predictions.long()), self.split(targets.long()), strict=True)
        right = [answer == label for answer, label in pairs]
        named = {**dict(zip(self.names, right, strict=True)), self.together: torch.stack(right).all(0)}
        return {f"{name}_top1": hits.double().mean().item() for name, hits in named.items()}


def _as_one_classifier(margins: list[Tensor], labels: list[Tensor]) -> Tensor:
    """The margins (B, K) of all heads side by side, of the right classes only the first head's: a
    classifier has one.
    """
    wrong = [
        torch.ones_like(m, dtype=torch.bool).scatter(1, y[:, None], False)
        for m, y in zip(margins[1:], labels[1:], strict=True)
    ]
    return torch.cat(
        [margins[0], *(m[mask].reshape(len(m), -1) for m, mask in zip(margins[1:], wrong, strict=True))], dim=1
    )
