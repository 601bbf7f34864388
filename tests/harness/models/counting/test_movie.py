"""MoVie's modulation: an empty question changes nothing, and the compressed form equals the full
one.
"""

import torch
from torch import nn

from harness.models.counting.backbone import CHANNELS, STATE
from harness.models.counting.movie import FUSED, Bottleneck, ThreeBranches


def block() -> Bottleneck:
    torch.manual_seed(0)
    return Bottleneck().eval()


def test_an_empty_question_modulates_nothing() -> None:
    bottleneck, v, q = block(), torch.randn(2, CHANNELS, 5, 4), torch.randn(2, STATE)
    nn.init.zeros_(bottleneck.gamma.weight)
    nn.init.zeros_(bottleneck.gamma.bias)
    assert torch.equal(bottleneck.modulated(v, q), bottleneck.reduce(v))


def test_the_compressed_form_is_the_full_one() -> None:
    """conv(v + W(v ⊗ Δγ)) = conv(v) + W_c(v ⊗ Δγ) for W_c = conv W."""
    bottleneck, v, q = block(), torch.randn(2, CHANNELS, 5, 4), torch.randn(2, STATE)
    full = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
    product = bottleneck.reduce.weight.flatten(1) @ full.weight.flatten(1)
    bottleneck.modulate.weight.data = product[:, :, None, None]
    modulated = v + full(v * bottleneck.gamma(q)[:, :, None, None])
    torch.testing.assert_close(bottleneck.modulated(v, q), bottleneck.reduce(modulated), rtol=1e-4, atol=1e-5)


def test_the_shortcut_is_not_modulated() -> None:
    bottleneck, v = block(), torch.rand(2, CHANNELS, 5, 4)
    last = bottleneck.middle[-1]
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    assert torch.equal(bottleneck(v, torch.randn(2, STATE)), v)


def test_three_branches_learn_and_the_first_answers() -> None:
    torch.manual_seed(0)
    head = ThreeBranches(7).eval()
    features, here = [torch.randn(2, CHANNELS, 4, 4), torch.randn(2, STATE)], torch.ones(2, 2, dtype=torch.bool)
    joint, main, counted = head.branches(features, here)
    assert torch.equal(head(features, here), joint)
    assert not torch.equal(joint, main) and not torch.equal(main, counted)
    both, m, c = head.joined(features, here)
    torch.testing.assert_close(both, m + c)
    assert both.shape == (2, FUSED)
