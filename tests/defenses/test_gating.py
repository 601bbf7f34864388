"""Gates of modalities."""

import torch
from torch import nn

from defenses.gating import Gating


def test_a_closed_gate_lets_nothing_through() -> None:
    fusion = Gating(size=4, modalities=3, outputs=2)
    nn.init.zeros_(fusion.gates.weight)
    fusion.gates.bias.data = torch.tensor([1e4, -1e4, 1e4])
    features = [torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)).requires_grad_() for seed in range(3)]
    outputs = fusion(features, torch.ones(5, 3, dtype=torch.bool))
    assert [bool(slope.any()) for slope in torch.autograd.grad(outputs.sum(), features)] == [True, False, True]
