"""RefineNet's parts."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from harness.models.dense.refinenet import ChainedPooling, RefineNet, ResidualUnits
from harness.models.dense.resnet import SIZES


def test_residual_units_without_weights_are_the_identity() -> None:
    units, x = ResidualUnits(4, 2), torch.randn(2, 4, 5, 6)
    assert not torch.equal(units(x), x)
    for parameter in units.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(units(x), x)


def test_a_chain_adds_every_link() -> None:
    chain, x = ChainedPooling(4, 2), torch.randn(2, 4, 9, 7)
    first, second = chain.links
    one = first(F.max_pool2d(x, 5, 1, 2))
    two = second(F.max_pool2d(one, 5, 1, 2))
    torch.testing.assert_close(chain(x), x + one + two)


def test_every_level_reaches_the_map() -> None:
    size = SIZES["small"]
    levels = [torch.randn(1, *shape, requires_grad=True) for shape in size.shapes((32, 40))]
    decoded = RefineNet(size.widths, size).eval()(levels)
    assert decoded.shape == (1, size.decoded[0], *levels[0].shape[2:])
    assert all(bool(each.any()) for each in torch.autograd.grad(decoded.sum(), levels))
