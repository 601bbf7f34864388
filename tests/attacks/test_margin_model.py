"""The groups of a sound, by place and wavelength."""

from __future__ import annotations

import torch

from attacks.margin_model import NUMBERS, Groups


def test_a_part_of_a_sound_lies_in_its_place_and_band() -> None:
    """Of white noise: nothing outside of its place, and little outside of its band."""
    groups = Groups((2_048,))
    assert groups.sound and not Groups((64,)).sound and not Groups((32, 32)).sound
    x, draws = torch.randn(8, 2_048, generator=torch.Generator().manual_seed(0)), torch.full((8, NUMBERS), 0.5)
    group = torch.arange(8) * 13 % len(groups)
    part = groups.part(x, group, draws)
    assert torch.equal(part.abs().amax(1), torch.ones(8))
    for row, number in enumerate(group.tolist()):
        place, band = number % groups.places[0], number // groups.places[0]
        start, stop = (edge * 2_048 // groups.places[0] for edge in (place, place + 1))
        assert not part[row, :start].any() and not part[row, stop:].any()
        power = torch.fft.rfft(part[row]).abs().square()
        low, high = (int(edge / groups.bands[0] * len(power)) for edge in (band - 0.1, band + 1.1))
        assert power[max(low, 0) : high].sum() > 0.9 * power.sum()
    assert not groups.part(torch.zeros(8, 2_048), group, draws).any(), "silence has no parts"
