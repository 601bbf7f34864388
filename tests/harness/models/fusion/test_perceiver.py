"""Perceiver: the cost of its latents; only its features identify a position."""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.engine.loading import build_model
from harness.models.fusion.perceiver import LATENTS, Perceiver, fourier
from harness.tasks import Task

WIDTH = 20


def tokens(*counts: int, batch: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, count, WIDTH, generator=generator) for count in counts]


def flops(count: int) -> tuple[int, int]:
    """FLOPs of a forward pass: all, and those of the attention among latents."""
    model = Perceiver(WIDTH, 3).eval()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(tokens(count, batch=1), torch.ones(1, 1, dtype=torch.bool))
    among = sum(
        sum(each.values())
        for name, each in counter.get_flop_counts().items()
        if ".blocks." in name and name.endswith("attention")
    )
    return counter.get_total_flops(), among


def test_cost_is_affine_in_the_length_and_the_latent_part_does_not_know_it() -> None:
    (short, latent), (middle, same), (long, still) = flops(50), flops(150), flops(250)
    assert middle - short == long - middle > 0
    assert latent == same == still > 0


def test_inputs_with_their_positions_may_come_in_any_order() -> None:
    torch.manual_seed(0)
    model, (first, second), here = Perceiver(WIDTH, 3).eval(), tokens(30, 10), torch.ones(4, 2, dtype=torch.bool)
    shuffled = first[:, torch.randperm(30)]
    torch.testing.assert_close(model([shuffled, second], here), model([first, second], here))
    assert not torch.allclose(model([first.roll(1, 2), second], here), model([first, second], here))


def test_values_moved_between_positions_are_noticed(digits: Task) -> None:
    torch.manual_seed(0)
    model, inputs = build_model("perceiver", digits).eval(), digits.splits["test"].take(range(8)).inputs
    for name in digits.names:
        moved = {**inputs, name: inputs[name].flip(1 if name == "text" else -1)}
        assert not torch.allclose(model(moved, None), model(inputs, None), rtol=1e-6, atol=1e-7), name


def test_fourier_features() -> None:
    line = fourier((5,), bands=2)  # frequencies 1 and 5/2
    assert line.shape == (5, 5)
    torch.testing.assert_close(line[:, 0], torch.linspace(-1, 1, 5))
    angles = torch.pi * 0.5 * torch.tensor([1.0, 2.5])
    torch.testing.assert_close(line[3], torch.cat([torch.tensor([0.5]), angles.sin(), angles.cos()]))
    plane = fourier((4, 6))
    assert plane.shape == (24, 26) and len(plane.unique(dim=0)) == 24


def test_latents_begin_small() -> None:
    torch.manual_seed(0)
    latents = Perceiver(WIDTH, 3).latents.detach()
    assert latents.shape[1] == LATENTS and 0.018 < float(latents.std()) < 0.022 and float(latents.abs().max()) < 2.0
