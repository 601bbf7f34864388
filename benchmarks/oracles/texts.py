"""Texts of one-hot characters: every text within two edits, beside a linear modality."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.objective import Classification
from attacks.region import Inputs, Range
from attacks.scenario import Scenario
from benchmarks.oracles.edits import Choices
from benchmarks.oracles.linear import cheapest, others, rise_of, space, towards

EDITS = 2


@dataclass(frozen=True, eq=False)
class Texts:
    """logits = Σ_p w[c_p] + Σ_p u[c_p, c_p+1] + W a.

    Attributes:
        single: w, (V, K).
        pairs: u, (V, V, K); zeros make it a bag of characters.
        weight: W, (K, values).
        inputs: `text` one-hot (B, P, V), and `a` (B, values) in [0, 1].
    """

    single: Tensor
    pairs: Tensor
    weight: Tensor
    inputs: Inputs

    @property
    def bounds(self) -> dict[str, Range]:
        return {name: Range(0.0, 1.0) for name in self.inputs}

    def of_text(self, text: Tensor) -> Tensor:
        return torch.einsum("bpv,vk->bk", text, self.single) + torch.einsum(
            "bpv,bpw,vwk->bk", text[:, :-1], text[:, 1:], self.pairs
        )

    def logits(self, inputs: Inputs) -> Tensor:
        return self.of_text(inputs["text"]) + inputs["a"] @ self.weight.T

    @property
    def labels(self) -> Tensor:
        return self.logits(self.inputs).argmax(1)

    def objective(self) -> Classification:
        return Classification(self.logits, self.labels)

    def exact(self, scenario: Scenario) -> Tensor:
        """The critical strengths (B,); nan where more than two edits may do with less."""
        labels, sizes = self.labels, {ball.norm_name: ball.radius for ball in scenario.edits}
        wrong = others(labels, len(self.weight))
        exact = Texts(self.single.double(), self.pairs.double(), self.weight.double(), self.inputs)
        needed, strengths = [], []
        for count, text in self._texts() if sizes else [(0, self.inputs["text"])]:
            logits = exact.logits({"text": text.double(), "a": self.inputs["a"].double()})
            needed.append(logits.gather(1, labels[:, None]) - logits.gather(1, wrong))
            strengths.append(count / sizes.get("tokens", 1.0))
        rises = [
            (rise_of(ball, towards(self.weight, labels, wrong), *space(self.inputs["a"], Range(0.0, 1.0))), ball.radius)
            for ball in scenario.continuous.attacked
        ]
        best = cheapest(rises, Choices(torch.stack(needed, 2), torch.tensor(strengths).double()))
        return torch.where(best <= (EDITS + 1) / sizes["tokens"], best, float("nan")) if sizes else best

    def _texts(self) -> Iterator[tuple[int, Tensor]]:
        """Every text within two edits, and how many."""
        text = self.inputs["text"]
        _, positions, letters = text.shape
        for count in range(EDITS + 1):
            for places, chosen in product(combinations(range(positions), count), product(range(letters), repeat=count)):
                moved = text.clone()
                moved[:, list(places)] = F.one_hot(torch.tensor(chosen, dtype=torch.int64), letters).to(text)
                yield count, moved


def random_texts(classes: int, samples: int, seed: int, bigrams: bool, positions: int = 6, letters: int = 6) -> Texts:
    generator = torch.Generator().manual_seed(seed)
    text = F.one_hot(torch.randint(letters, (samples, positions), generator=generator), letters).float()
    single, weight = torch.randn(letters, classes, generator=generator), torch.randn(classes, 12, generator=generator)
    pairs = float(bigrams) * torch.randn(letters, letters, classes, generator=generator)
    return Texts(single, pairs, weight, {"a": torch.rand(samples, 12, generator=generator), "text": text})
