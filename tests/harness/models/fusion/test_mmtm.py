"""MMTM: the gates of untrained blocks, streams of any rank and size, masked squeezes."""

import pytest
import torch

from harness.models.fusion.mmtm import MMTM, mmtm
from harness.tasks import Task

CHANNELS = (6, 5, 4)


def streams() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator) for size in ((8, 6, 7, 3), (8, 5, 11), (8, 4))]


@pytest.mark.parametrize(("gate_scale", "factor"), [(2.0, 1.0), (1.0, 0.5)])
def test_zero_weights_scale_everything_alike(gate_scale: float, factor: float) -> None:
    block = MMTM(CHANNELS, gate_scale)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    for before, after in zip(streams(), block(streams(), torch.ones(8, 3, dtype=torch.bool)), strict=True):
        assert torch.equal(after, factor * before)


def test_sizes_stay_and_every_channel_has_one_gate() -> None:
    for before, after in zip(streams(), MMTM(CHANNELS)(streams(), torch.ones(8, 3, dtype=torch.bool)), strict=True):
        assert after.shape == before.shape
        gates = (after / before).flatten(2) if before.ndim > 2 else (after / before)[..., None]
        torch.testing.assert_close(gates, gates[..., :1].expand_as(gates))
        assert bool(((gates > 0) & (gates < 2)).all())


def test_a_missing_stream_moves_no_gate() -> None:
    block, here = MMTM(CHANNELS), torch.ones(8, 3, dtype=torch.bool)
    here[:, 1] = False
    image, sound, vector = streams()
    for other in (sound.flip(0), torch.full_like(sound, torch.nan)):
        first, second = block([image, sound, vector], here), block([image, other, vector], here)
        assert torch.equal(first[0], second[0]) and torch.equal(first[2], second[2])
        assert not torch.equal(block([image, other, vector], ~here)[0], first[0])


def test_each_modality_hears_the_others_before_its_logits(digits: Task) -> None:
    """Late fusion of the same streams would not: there, a change of one moves the mean by its own
    logits only.
    """
    torch.manual_seed(0)
    model, inputs = mmtm(digits).eval(), digits.splits["test"].take(range(8)).inputs
    only_image = {}
    model.fusion.heads[0].register_forward_hook(lambda module, given, logits: only_image.update(logits=logits))
    model(inputs, None)
    before = only_image["logits"]
    model({**inputs, "audio": inputs["audio"].flip(0)}, None)
    assert not torch.equal(before, only_image["logits"])
