"""Corruptions of a sound (T,), or of several channels (C, T): all channels lose the same times."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.corruptions.scale import absent
from harness.tasks import Modality

# One value per severity, 1 to 5.
SNR = (20.0, 15.0, 10.0, 5.0, 0.0)  # power of the clip over power of the noise, in dB
CLIPPING = (0.7, 0.5, 0.3, 0.2, 0.1)  # where the wave is cut off, of its peak
DROPOUT = (0.05, 0.1, 0.2, 0.35, 0.5)  # chance of each frame to be lost
CUTOFF = (0.5, 0.35, 0.2, 0.12, 0.06)  # of the highest frequency, half the sample rate
SHIFT = (0.02, 0.05, 0.1, 0.2, 0.3)  # of the clip's length
FRAME = 0.02  # seconds
SAMPLE_RATE = 16_000  # in Hz, where the modality has no sample rate
ORDER = 4  # of the Butterworth response


def noise(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """White noise at 20 to 0 dB under the clip's own power; a silent clip stays silent."""
    draws = torch.randn(x.shape, generator=generator).to(x)
    ratio = 10 ** (-SNR[severity - 1] / 20)
    return x + draws * (ratio * _rms(x) / _rms(draws))


def _rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def clipping(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """The wave is cut off at 70 to 10 % of its peak."""
    top = CLIPPING[severity - 1] * x.abs().max()
    return x.clamp(-top, top)


def dropout(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """Frames of 20 ms are lost, each with a chance of 5 to 50 %, and hold the absent value."""
    length = max(1, round(FRAME * (modality.sample_rate or SAMPLE_RATE)))
    lost = torch.rand(-(-x.shape[-1] // length), generator=generator) < DROPOUT[severity - 1]
    return torch.where(lost.repeat_interleave(length)[: x.shape[-1]].to(x.device), absent(x, modality), x)


def low_pass(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """A Butterworth low-pass without delay, cutoff at 50 to 6 % of half the sample rate."""
    spectrum = torch.fft.rfft(x)
    frequency = torch.linspace(0, 1, spectrum.shape[-1]).to(x)
    response = (1 + (frequency / CUTOFF[severity - 1]) ** (2 * ORDER)).rsqrt()
    filtered: Tensor = torch.fft.irfft(spectrum * response, n=x.shape[-1])
    return filtered


def shift(x: Tensor, severity: int, modality: Modality, generator: torch.Generator) -> Tensor:
    """The clip starts earlier or later by 2 to 30 % of its length; the gap holds the absent
    value.
    """
    sign = 1 if float(torch.rand((), generator=generator)) < 0.5 else -1
    step = max(1, round(SHIFT[severity - 1] * x.shape[-1]))
    gap = torch.arange(x.shape[-1]) < step
    return torch.where((gap if sign > 0 else gap.flip(0)).to(x.device), absent(x, modality), x.roll(sign * step, -1))
