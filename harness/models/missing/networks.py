"""The networks of SMIL (Ma et al., AAAI 2021): a small LeNet on images, convolutions on the MFCC of
a sound.
"""

from __future__ import annotations

import math

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from harness.models.encoders import LogMel, channels_first, encoder
from harness.tasks import Modality
from harness.tasks.axes import channels

COEFFICIENTS = FRAMES = 20  # SMIL's sound net takes a square of them
MELS = 40
SIDES = range(16, 33)  # of an image, in pixels, that the image net leaves a sensible number of features of
SHORTEST = 16 * FRAMES  # samples of a sound, so that a window holds more than a few
WIDTH = 64


class MFCC(nn.Module):
    """Waveform (B, T) to mel-frequency cepstral coefficients (B, 20, 20): coefficients, frames.

    The frames are evenly spread over the sound, their windows overlap by half. Each coefficient is
    standardised, as the first would drown the others.
    """

    def __init__(self, length: int, sample_rate: int) -> None:
        super().__init__()
        hop = length // (FRAMES - 1)
        self.log_mel = LogMel(sample_rate, MELS, 2 * hop, hop)
        self.standardised = nn.BatchNorm1d(COEFFICIENTS, affine=False)
        self.register_buffer("cosines", cosines(COEFFICIENTS, MELS), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        coefficients: Tensor = self.standardised(self.cosines @ self.log_mel(wave)[..., :FRAMES])
        return coefficients


def cosines(coefficients: int, mels: int) -> Tensor:
    """The first rows of the orthonormal cosine transform (DCT-II), (coefficients, mels)."""
    angles = math.pi / mels * torch.outer(torch.arange(coefficients), torch.arange(mels) + 0.5)
    rows = angles.cos() * math.sqrt(2 / mels)
    rows[0] /= math.sqrt(2)
    return rows


def image_net(modality: Modality) -> tuple[nn.Module, int]:
    """SMIL's image net and the number of its features, 160 for 28 × 28 pixels."""
    height, width = (((side - 4) // 2 - 4) // 2 for side in modality.shape[-2:])
    net = nn.Sequential(
        channels_first(modality),
        nn.Conv2d(channels(modality.shape), 5, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(5, 10, 5),
        nn.Dropout(0.5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
    )
    return net, 10 * height * width


def sound_net(modality: Modality) -> tuple[nn.Module, int]:
    """SMIL's sound net and the number of its features, 320."""
    net = nn.Sequential(
        MFCC(modality.shape[0], modality.sample_rate or 16_000),
        Rearrange("batch coefficient frame -> batch 1 coefficient frame"),
        nn.Conv2d(1, 32, 2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 48, 2),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Conv2d(48, 20, 2),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=4),
        nn.Flatten(),
        nn.Dropout(0.25),
    )
    return net, 20 * 4 * 4


def network(modality: Modality) -> tuple[nn.Module, int]:
    """The net of a modality, (B, *shape) in raw units to (B, width), and its width.

    SMIL's own for small images and for sounds, the house's encoder for all else.
    """
    if modality.kind == "image" and all(side in SIDES for side in modality.shape[-2:]):
        return image_net(modality)
    if modality.kind == "audio" and len(modality.shape) == 1 and modality.shape[0] >= SHORTEST:
        return sound_net(modality)
    return encoder(modality, WIDTH), WIDTH
