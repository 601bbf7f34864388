"""Encoders of one modality: raw units in, features (B, width) out, differentiable throughout.

An encoder knows its modality's range and centres it; log-mel and the embedding of characters happen
inside, so that an attack reaches the waveform and the one-hot matrix.
"""

from __future__ import annotations

import math

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.tasks import Modality
from harness.tasks.axes import channels

MELS = 32
WINDOW = 256
FEATURE_DROPOUT = 0.3


class Centred(nn.Module):
    """Raw values to [-1, 1] where the range is finite; others pass unchanged."""

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        low, high = (torch.as_tensor(end, dtype=torch.float32) for end in (modality.low, modality.high))
        finite = low.isfinite() & high.isfinite() & (high > low)
        self.register_buffer("middle", torch.where(finite, (low + high) / 2, torch.zeros_like(low)), persistent=False)
        self.register_buffer("scale", torch.where(finite, 2 / (high - low), torch.ones_like(low)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.middle) * self.scale  # type: ignore[operator]


class LogMel(nn.Module):
    """Waveform (B, T) to log-mel energies (B, mels, frames): Hann window, power, HTK mel triangles.

    The power is averaged over several channels (B, C, T).
    """

    def __init__(
        self, sample_rate: int, mels: int, window: int = WINDOW, hop: int = 128, floor: float = 1e-2, of: str = ""
    ) -> None:
        super().__init__()
        self.shows, self.of = "log-mel", of  # attributions also cover its internal form of that modality
        self.window_length, self.hop, self.floor = window, hop, floor
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", mel_filters(sample_rate, mels, window // 2 + 1), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        power = self._power(wave.flatten(0, -2))
        if wave.ndim == 3:
            power = power.unflatten(0, wave.shape[:2]).mean(1)
        return (self.filters @ power + self.floor).log()  # type: ignore[operator]

    def _power(self, wave: Tensor) -> Tensor:
        spectrum = torch.stft(wave, self.window_length, self.hop, window=self.window, return_complex=True)  # type: ignore[arg-type]
        return spectrum.real.square() + spectrum.imag.square()


def mel_filters(sample_rate: int, mels: int, bins: int) -> Tensor:
    """Triangles evenly spaced on the HTK mel scale, 2595 log10(1 + f/700), (mels, bins)."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, mels + 2) / 2595) - 1)
    frequencies = torch.linspace(0, sample_rate / 2, bins)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0)


def _log_mel(modality: Modality) -> LogMel:
    """The log-mel energies of a modality.

    Raises:
        BadInput: its samples are too short for the window.
    """
    window, shortest = WINDOW, WINDOW // 2 + 1  # the ends are mirrored by half a window
    if modality.shape[-1] < shortest:
        raise BadInput(
            f"modality {modality.name!r} has shape {modality.shape}, but the audio encoder takes waveforms (T,) of at"
            f" least {shortest} values: pad it, or declare its kind as features"
        )
    return LogMel(modality.sample_rate or 16_000, MELS, window, of=modality.name)


def centred(modality: Modality) -> nn.Sequential:
    """Centred pixels (B, C, H, W) of an image or (B, C, T, H, W) of a video, or else centred values
    (B, D).
    """
    if modality.kind == "video":
        return nn.Sequential(Centred(modality))
    if modality.kind != "image":
        return nn.Sequential(Centred(modality), nn.Flatten())
    return nn.Sequential(
        Centred(modality), nn.Unflatten(1, (1, modality.shape[0])) if len(modality.shape) == 2 else nn.Identity()
    )


def convolved(narrow: int, wider: int, stride: int) -> tuple[nn.Module, ...]:
    """A 3×3 convolution of pixels (B, narrow, H, W), a batch norm and a ReLU."""
    return nn.Conv2d(narrow, wider, 3, stride, padding=1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()


def _image(modality: Modality, width: int) -> nn.Module:
    return nn.Sequential(
        *centred(modality),
        nn.Conv2d(channels(modality.shape), 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 16, width),
        nn.ReLU(),
    )


def _video(modality: Modality, width: int) -> nn.Module:
    return nn.Sequential(
        *centred(modality),
        nn.Conv3d(channels(modality.shape), 16, 3, (1, 2, 2), padding=1),
        nn.ReLU(),
        nn.Conv3d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d((2, 4, 4)),
        nn.Flatten(),
        nn.Linear(32 * 32, width),
        nn.ReLU(),
    )


def _audio(modality: Modality, width: int) -> nn.Module:
    return nn.Sequential(
        _log_mel(modality),
        nn.Conv1d(MELS, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(4),
        nn.Flatten(),
        nn.Linear(64 * 4, width),
        nn.ReLU(),
    )


def _text(modality: Modality, width: int) -> nn.Module:
    vocabulary = modality.shape[-1]
    return nn.Sequential(
        nn.Linear(vocabulary, 24, bias=False),  # the embedding of a character, of a one-hot row
        Rearrange("batch position channel -> batch channel position"),
        nn.Conv1d(24, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(3),
        nn.Flatten(),
        nn.Linear(64 * 3, width),
        nn.ReLU(),
    )


def _features(modality: Modality, width: int) -> nn.Module:
    return nn.Sequential(
        *centred(modality),
        nn.Dropout(FEATURE_DROPOUT),  # published features are many, samples few
        nn.Linear(math.prod(modality.shape), 2 * width),
        nn.ReLU(),
        nn.Dropout(FEATURE_DROPOUT),
        nn.Linear(2 * width, width),
        nn.ReLU(),
    )


_ENCODERS = {"image": _image, "video": _video, "audio": _audio, "text": _text, "features": _features}


def encoder(modality: Modality, width: int) -> nn.Module:
    """A small encoder for the modality's kind: (B, *shape) in raw units to (B, width)."""
    return _ENCODERS[modality.kind](modality, width)


def channels_first(modality: Modality) -> nn.Module:
    """The modality as channels at positions: pixels (B, C, H, W) or (B, C, T, H, W), log-mel
    frames (B, mels, T), characters (B, vocabulary, n).

    Features have no positions, (B, D).
    """
    if modality.kind == "audio":
        return _log_mel(modality)
    if modality.kind == "text":
        return Rearrange("batch position channel -> batch channel position")
    return centred(modality)


def tokenizer(modality: Modality, width: int) -> nn.Module:
    """The modality as tokens (B, n, width), each a linear map of a patch (of one frame), a frame of
    sound, a character or everything.
    """
    if modality.kind == "image":
        side = max(1, min(modality.shape[-2:]) // 4)
        return nn.Sequential(
            *centred(modality),
            nn.Conv2d(channels(modality.shape), width, side, stride=side),
            Rearrange("batch channel height width -> batch (height width) channel"),
        )
    if modality.kind == "video":
        side = max(1, min(modality.shape[-2:]) // 4)
        return nn.Sequential(
            *centred(modality),
            nn.Conv3d(channels(modality.shape), width, (1, side, side), stride=(1, side, side)),
            Rearrange("batch channel frame height width -> batch (frame height width) channel"),
        )
    if modality.kind == "audio":
        frames = Rearrange("batch mel frame -> batch frame mel")
        return nn.Sequential(_log_mel(modality), frames, nn.Linear(MELS, width))
    if modality.kind == "text":
        return nn.Linear(modality.shape[-1], width)
    whole = nn.Sequential(*centred(modality), nn.Linear(math.prod(modality.shape), width))
    return nn.Sequential(*whole, nn.Unflatten(1, (1, width)))
