"""From a waveform to what networks of sound and video read, with the features computed inside,
differentiably: so an attack reaches the waveform.

As in the feature extractors of Hugging Face transformers: Wav2Vec2's (also HuBERT's), Whisper's and
the Audio Spectrogram Transformer's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.tasks import Modality

QUIET = 1e-7  # added to a variance
WHISPERS_FLOOR, WHISPERS_DEPTH = 1e-10, 8.0  # of power; and in powers of ten below the loudest
KALDIS_FLOOR, PREEMPHASIS, KALDIS_FFT = 1.192092955078125e-07, 0.97, 512


def sound_reader(modality: Modality, extractor: Any) -> nn.Module:
    """The reader of a waveform (T,), as the network's feature extractor reads it.

    Raises:
        BadInput: no such extractor, or the sounds have another sample rate.
    """
    rate, named = getattr(extractor, "sampling_rate", None), type(extractor).__name__
    if extractor is None or rate is None:
        raise BadInput(
            f"modality {modality.name!r} is a sound: pass the network's feature extractor, which has the sample rate"
            " and the features"
        )
    if modality.sample_rate != rate:
        raise BadInput(
            f"modality {modality.name!r} has {modality.sample_rate} samples a second, and {named} reads {rate}:"
            " resample the sounds, and pass sample_rate= to the task"
        )
    if len(modality.shape) > 1:
        raise BadInput(
            f"modality {modality.name!r} has {modality.shape[0]} channels, and {named} reads one: average them, as"
            " x.mean(1), or choose one"
        )
    if hasattr(extractor, "chunk_length") and hasattr(extractor, "n_fft"):
        return WhisperMel(modality, extractor)
    if hasattr(extractor, "num_mel_bins") and hasattr(extractor, "max_length"):
        return KaldiMel(modality, extractor)
    if hasattr(extractor, "mel_filters"):
        raise BadInput(f"{named} computes features that are not read here: compute them in a model of your own")
    return Waveform(modality, bool(getattr(extractor, "do_normalize", False)))


class Waveform(nn.Module):
    """The waveform (B, T), with mean 0 and variance 1 if the network was trained so."""

    def __init__(self, modality: Modality, normalised: bool) -> None:
        super().__init__()
        self.name, self.normalised = modality.name, normalised

    def forward(self, network: nn.Module, inputs: Inputs, here: Tensor | None) -> Inputs:
        x = inputs[self.name]
        if self.normalised:
            x = (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True, unbiased=False) + QUIET)
        return {"input_values": x}


class WhisperMel(nn.Module):
    """Whisper's log-mel spectrogram (B, bins, frames) of sounds that are padded with silence, or
    cut, to its chunk.
    """

    def __init__(self, modality: Modality, extractor: Any) -> None:
        super().__init__()
        self.name, self.hop, self.length = modality.name, int(extractor.hop_length), int(extractor.n_samples)
        self.register_buffer("window", torch.hann_window(int(extractor.n_fft)))
        self.register_buffer("filters", torch.tensor(extractor.mel_filters, dtype=torch.float32))

    def forward(self, network: nn.Module, inputs: Inputs, here: Tensor | None) -> Inputs:
        x = inputs[self.name][:, : self.length]
        x = F.pad(x, (0, self.length - x.shape[1]))
        window, filters = self.get_buffer("window"), self.get_buffer("filters")
        found = torch.stft(x, len(window), self.hop, window=window, return_complex=True)
        mel = filters.T @ (found[..., :-1].abs() ** 2)
        loud = mel.clamp_min(WHISPERS_FLOOR).log10()
        return {"input_features": (torch.maximum(loud, loud.amax((1, 2), keepdim=True) - WHISPERS_DEPTH) + 4) / 4}


class KaldiMel(nn.Module):
    """The filter bank (B, frames, bins) of the Audio Spectrogram Transformer, as Kaldi computes
    it.
    """

    def __init__(self, modality: Modality, extractor: Any) -> None:
        super().__init__()
        self.name, self.frames = modality.name, int(extractor.max_length)
        self.normalised = bool(extractor.do_normalize)
        rate = int(extractor.sampling_rate)
        self.size, self.hop = rate // 40, rate // 100  # 25 and 10 ms
        self.register_buffer("window", torch.hann_window(self.size, periodic=False))
        self.register_buffer("filters", kaldi_filters(rate, int(extractor.num_mel_bins)))
        self.mean, self.spread = float(extractor.mean), 2 * float(extractor.std)

    def forward(self, network: nn.Module, inputs: Inputs, here: Tensor | None) -> Inputs:
        frames = inputs[self.name].unfold(1, self.size, self.hop)[:, : self.frames]
        frames = frames - frames.mean(2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], 2)
        window, filters = self.get_buffer("window"), self.get_buffer("filters")
        power = torch.fft.rfft((frames - PREEMPHASIS * before) * window, KALDIS_FFT).abs() ** 2
        loud = (power @ filters).clamp_min(KALDIS_FLOOR).log()
        loud = F.pad(loud, (0, 0, 0, self.frames - loud.shape[1]))
        return {"input_values": (loud - self.mean) / self.spread if self.normalised else loud}


def kaldi_filters(rate: int, bins: int) -> Tensor:
    """Triangles (257, bins) that are evenly spaced and straight on Kaldi's mel scale, from 20 Hz to
    half of the sample rate.
    """

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    ends = mel(torch.tensor([20.0, rate // 2], dtype=torch.float64))
    edges = torch.linspace(float(ends[0]), float(ends[1]), bins + 2, dtype=torch.float64)
    places = mel(torch.arange(KALDIS_FFT // 2 + 1, dtype=torch.float64) * rate / KALDIS_FFT)[:, None]
    rising = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp_min(0).float()


class Frames(nn.Module):
    """A video (B, C, T, H, W) as pixels (B, T, C, H, W), rescaled and normalised as the network was
    trained; its radii stay in the task's units.

    Args:
        pixels: the normalisation, of images (C, H, W).
    """

    def __init__(self, name: str, pixels: nn.Module) -> None:
        super().__init__()
        self.name, self.pixels = name, pixels

    def forward(self, network: nn.Module, inputs: Inputs, here: Tensor | None) -> Inputs:
        frames = inputs[self.name].transpose(1, 2)
        flat = {self.name: frames.flatten(0, 1)}
        found: dict[str, Tensor] = self.pixels(network, flat, None)
        return {key: x.unflatten(0, frames.shape[:2]) for key, x in found.items()}
