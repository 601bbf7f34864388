"""The residual network: the shapes of its maps, and what branches share."""

from __future__ import annotations

import pytest
import torch

from harness.models.dense.pspnet import PyramidPooling
from harness.models.dense.refinenet import Network, Plan, RefineNet
from harness.models.dense.resnet import SIZES, Backbone, packed, unpacked


@pytest.mark.parametrize("pixels", [(48, 48), (33, 50), (64, 41)])
@pytest.mark.parametrize("size", SIZES)
def test_maps_have_the_shapes_that_are_stated(size: str, pixels: tuple[int, int]) -> None:
    with torch.device("meta"):
        backbone = Backbone(3, 1, SIZES[size])
        levels = backbone([torch.zeros(2, 3, *pixels)], torch.ones(2, 1, dtype=torch.bool))
    assert [tuple(maps[0].shape[1:]) for maps in levels] == SIZES[size].shapes(pixels)


def test_packed_maps_come_back() -> None:
    shapes = SIZES["small"].shapes((20, 30))
    maps = [torch.randn(2, *shape) for shape in shapes]
    assert all(torch.equal(x, y) for x, y in zip(maps, unpacked(packed(maps), shapes), strict=True))


@pytest.mark.parametrize("size", SIZES)
def test_pyramid_pooling_reads_maps_at_an_eighth(size: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(3, 1, SIZES[size], dilated=True)
        levels = backbone([torch.zeros(2, 3, 64, 96)], torch.ones(2, 1, dtype=torch.bool))
    share = 8 if SIZES[size].pooled else 4
    assert levels[-1][0].shape[2:] == (64 // share, 96 // share)


@pytest.mark.parametrize(("name", "decoder"), [("refinenet", RefineNet), ("pspnet", PyramidPooling)])
def test_a_decoder_is_chosen_by_name(name: str, decoder: type) -> None:
    with torch.device("meta"):
        network = Network(Plan(3, (5, 64, 96), SIZES["resnet152"], name), 2)
        logits = network([torch.zeros(2, 3, 64, 96)] * 2, torch.ones(2, 2, dtype=torch.bool))
    assert isinstance(network.decode, decoder)
    assert [tuple(x.shape) for x in logits] == [(2, 5, 64, 96)] * 2
