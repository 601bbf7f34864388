"""MBT: the information that passes through the bottleneck, when, and its cost."""

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.models.fusion.mbt import WIDTH, Bottleneck, BottleneckLayer, FullAttention

HERE = torch.ones(8, 2, dtype=torch.bool)


def tokens(*counts: int, batch: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, count, WIDTH, generator=generator) for count in counts]


def heard(fusion: torch.nn.Module, layers: int) -> list[bool]:
    """Layer by layer, whether the second modality's tokens after it change with the first
    modality.
    """
    after: list[Tensor] = []
    for layer in fusion.layers:
        layer.blocks[1].register_forward_hook(lambda module, given, output: after.append(output[:, :5]))
    first, second = tokens(7, 5)
    fusion([first, second], HERE)
    fusion([first.flip(0), second], HERE)
    return [not torch.equal(before, changed) for before, changed in zip(after[:layers], after[layers:], strict=True)]


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_a_modality_influences_another_one_layer_later(layers: int) -> None:
    assert heard(Bottleneck(WIDTH, layers, 2, 3).eval(), layers) == [False] + [True] * (layers - 1)


def test_without_the_bottleneck_it_is_heard_at_once() -> None:
    assert heard(FullAttention(WIDTH, 3, 2, 3).eval(), 3) == [True] * 3


def test_one_fusion_layer_exchanges_nothing() -> None:
    """L_f = L - 1: the logits are the mean of those of each modality alone."""
    fusion, (first, second) = Bottleneck(WIDTH, 1, 2, 3).eval(), tokens(7, 5)
    alone = [fusion([first, second], torch.tensor([[here, not here]]).expand(8, 2)) for here in (True, False)]
    torch.testing.assert_close(fusion([first, second], HERE), (alone[0] + alone[1]) / 2)


def test_it_is_an_attention_mask() -> None:
    """A modality's layer on [its tokens; the bottleneck] is its block on everything, the other
    modality's tokens masked.
    """
    layer, (first, second, bottleneck) = BottleneckLayer(WIDTH, 2).eval(), tokens(7, 5, 4)
    kept, returned = layer([first, second], bottleneck, HERE)
    seen = torch.tensor([True] * 7 + [False] * 5 + [True] * 4).expand(8, 1, 16)
    masked = layer.blocks[0](torch.cat([first, second, bottleneck], dim=1), seen)
    torch.testing.assert_close(masked[:, :7], kept[0])
    torch.testing.assert_close(
        returned, (masked[:, 12:] + layer.blocks[1](torch.cat([second, bottleneck], dim=1))[:, 5:]) / 2
    )


def test_a_missing_modality_is_left_out_of_the_mean() -> None:
    layer, (first, second, bottleneck) = BottleneckLayer(WIDTH, 2).eval(), tokens(7, 5, 4)
    _, returned = layer([first, second], bottleneck, torch.tensor([[True, False]]).expand(8, 2))
    assert torch.equal(returned, layer.blocks[0](torch.cat([first, bottleneck], dim=1))[:, 7:])


def flops(fusion: torch.nn.Module, *counts: int) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        fusion.eval()(tokens(*counts, batch=1), HERE[:1])
    return counter.get_total_flops()


def test_cost_hardly_grows_with_the_bottleneck() -> None:
    costs = {size: flops(Bottleneck(WIDTH, 4, 2, 3, size), 196, 196) for size in (1, 4, 16)}
    assert costs[4] < 1.03 * costs[1] and costs[16] < 1.15 * costs[1]
    assert costs[4] < 0.8 * flops(FullAttention(WIDTH, 4, 2, 3), 196, 196)
