"""Maxima of linear pieces: every wrong piece overtakes all pieces of the right class inside a
polytope, a linear program.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.objective import Classification
from attacks.region import Inputs, Range
from attacks.scenario import Scenario
from benchmarks.oracles.program import SLACK, Array, Program


@dataclass(frozen=True, eq=False)
class Pieces:
    """logits_j = max_k (w_jk · x + b_jk), x the modalities one after the other, in [0, 1].

    Attributes:
        weight, bias: (K, P, values) and (K, P).
        inputs: per modality (B, values).
    """

    weight: Tensor
    bias: Tensor
    inputs: Inputs

    @property
    def bounds(self) -> dict[str, Range]:
        return {name: Range(0.0, 1.0) for name in self.inputs}

    def logits(self, inputs: Inputs) -> Tensor:
        x = torch.cat([inputs[name] for name in self.inputs], 1)
        return (torch.einsum("kpf,bf->bkp", self.weight, x) + self.bias).amax(2)

    def objective(self) -> Classification:
        return Classification(self.logits, self.logits(self.inputs).argmax(1))

    def exact(self, scenario: Scenario, known: Tensor) -> Tensor:
        """The critical strengths up to the known ones (B,), which have witnesses; in L∞ and L1."""
        labels = self.objective().labels.tolist()
        return torch.tensor(
            [self._least(scenario, *each) for each in enumerate(zip(labels, known.tolist(), strict=True))]
        ).double()

    def _least(self, scenario: Scenario, row: int, about: tuple[int, float]) -> float:
        right, best = about
        x = torch.cat(list(self.inputs.values()), 1)[row].double().numpy()
        weight, bias = self.weight.double().numpy(), self.bias.double().numpy()
        values = weight @ x + bias
        for wrong in sorted(set(range(len(values))) - {right}, key=lambda j: float(-values[j].max())):
            for piece in range(values.shape[1]):
                gaps = values[wrong, piece] - values[right]
                best = min(best, self._overtaking(scenario, x, weight[right] - weight[wrong, piece], gaps, best))
        return best

    def _overtaking(self, scenario: Scenario, x: Array, slopes: Array, gaps: Array, best: float) -> float:
        """The smallest t at which slopes · δ ≤ gaps, (P, values) and (P,)."""
        widths = {name: each.shape[1] for name, each in self.inputs.items()}
        program = Program.of(scenario, widths, -x, 1 - x, best * SLACK)
        for slope, gap in zip(slopes, gaps, strict=True):
            program.at_most(dict(enumerate(slope, start=1)), float(gap))
        return program.solve()


def random_pieces(classes: int, pieces: int, samples: int, seed: int, widths: dict[str, int]) -> Pieces:
    generator, total = torch.Generator().manual_seed(seed), sum(widths.values())
    weight = torch.randn(classes, pieces, total, generator=generator)
    inputs = {
        name: (1.4 * torch.rand(samples, width, generator=generator) - 0.2).clamp(0, 1)
        for name, width in widths.items()
    }
    bias = torch.randn(classes, pieces, generator=generator) - weight.sum(2) / 2
    return Pieces(weight, bias, inputs)
