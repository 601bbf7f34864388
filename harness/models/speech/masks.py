"""Enhancement by a mask on the spectrum: the sound alone, or with the mouth fused early, late or by
MMTM after every block (Joze et al., CVPR 2020; no code of theirs for speech is public, so the sizes
are ours).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from harness.models.fused import Fused, without_missing
from harness.models.fusion.mmtm import MMTM
from harness.models.option_types import OneOrMore, Positive
from harness.models.speech.spectra import BINS, Lips, Spectrum, loudness, paced, sound_and_film
from harness.tasks import Task

WIDTH, SEEN = 96, 48  # channels of the sound's stream and of the mouth's
SPREADS = (1, 2, 4)  # of the convolutions of the three blocks, in frames
Place = Literal["alone", "early", "late", "mmtm"]


class Block(nn.Module):
    """x + a convolution over time of x (B, C, F), normed."""

    def __init__(self, channels: int, spread: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, channels, 5, padding=2 * spread, dilation=spread),
            nn.GroupNorm(1, channels),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        after: Tensor = x + self.layers(x)
        return after


class Masking(nn.Module):
    """A mask in [0, 1] on the noisy spectrum; the wave keeps the noisy phase.

    Args:
        length: T, of the answer.
        per_frame: whether MMTM scales the channels of every frame by themselves, or of all alike.
    """

    def __init__(self, length: int, place: Place, width: int, gate_scale: float, per_frame: bool) -> None:
        super().__init__()
        self.length, self.place, self.per_frame = length, place, per_frame
        self.spectrum = Spectrum()
        self.entered = nn.Conv1d(BINS + (SEEN if place == "early" else 0), width, 1)
        self.blocks = nn.ModuleList(Block(width, spread) for spread in SPREADS)
        self.mask = nn.Conv1d(width + (SEEN if place == "late" else 0), BINS, 1)
        if place in ("late", "mmtm"):
            self.seeing = nn.ModuleList(Block(SEEN, spread) for spread in SPREADS)
        if place == "mmtm":
            self.exchanges = nn.ModuleList(MMTM((width, SEEN), gate_scale) for _ in SPREADS)

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        """The waves (B, T) of a spectrum (B, 2, 129, F), and the features of a mouth if there is
        one; silence where the sound is missing.
        """
        spectra, *lips = without_missing(features, here)
        return self.spectrum.back(self.masked(spectra, lips, here)[:, None] * spectra, self.length)

    def masked(self, spectra: Tensor, lips: list[Tensor], here: Tensor) -> Tensor:
        """The mask (B, 129, F)."""
        heard = loudness(spectra)
        seen = paced(lips[0], heard.shape[2]) if lips else heard[:, :0]
        x = self.entered(torch.cat([heard, seen], 1) if self.place == "early" else heard)
        for level, block in enumerate(self.blocks):
            x = block(x)
            if self.place in ("late", "mmtm"):
                seen = self.seeing[level](seen)
            if self.place == "mmtm":
                x, seen = self._exchanged(self.exchanges[level], x, seen, here)
        last = torch.cat([x, without_missing([seen], here[:, 1:])[0]], 1) if self.place == "late" else x
        mask: Tensor = self.mask(last).sigmoid()
        return mask

    def _exchanged(self, exchange: nn.Module, x: Tensor, seen: Tensor, here: Tensor) -> list[Tensor]:
        if not self.per_frame:
            return exchange([x, seen], here)  # type: ignore[no-any-return]
        frames = x.shape[2]
        flat = exchange([each.transpose(1, 2).flatten(0, 1) for each in (x, seen)], here.repeat_interleave(frames, 0))
        return [each.unflatten(0, (-1, frames)).transpose(1, 2) for each in flat]


def speech_masks(
    task: Task,
    place: Place = "mmtm",
    width: OneOrMore = WIDTH,
    gate_scale: Positive = 2.0,
    per_frame: bool = True,
) -> Fused:
    """Speech enhancement by a mask; the speaker's mouth is fused early, late or by MMTM, or not
    seen.

    Args:
        place: alone, early, late or mmtm.
        width: channels of the sound's stream.
        gate_scale: see `harness.models.fusion.mmtm.mmtm`.
        per_frame: whether MMTM's gates differ from frame to frame; a mean over all frames, as for
            images, would not know when the mouth opens.

    Raises:
        BadInput: the task does not ask for a sound, or lacks the sound or the video.
    """
    sound, film = sound_and_film(task, "speech-masks")
    encoders: dict[str, nn.Module] = {sound.name: Spectrum()}
    if place != "alone":
        encoders[film.name] = Lips(film, SEEN)
    return Fused(task, encoders, Masking(sound.shape[0], place, width, gate_scale, per_frame))


def speech_audio(task: Task, width: OneOrMore = WIDTH) -> Fused:
    """Speech enhancement by a mask from the sound alone.

    Raises:
        BadInput: see `speech_masks`.
    """
    return speech_masks(task, "alone", width)


def speech_early(task: Task, width: OneOrMore = WIDTH) -> Fused:
    """Speech enhancement; the mouth's features stand beside the spectrum before the first block.

    Raises:
        BadInput: see `speech_masks`.
    """
    return speech_masks(task, "early", width)


def speech_late(task: Task, width: OneOrMore = WIDTH) -> Fused:
    """Speech enhancement; the mouth's features stand beside the sound's before the mask.

    Raises:
        BadInput: see `speech_masks`.
    """
    return speech_masks(task, "late", width)


def speech_mmtm(task: Task, width: OneOrMore = WIDTH, gate_scale: Positive = 2.0, per_frame: bool = True) -> Fused:
    """Speech enhancement; the sound's stream and the mouth's scale each other's channels.

    Raises:
        BadInput: see `speech_masks`.
    """
    return speech_masks(task, "mmtm", width, gate_scale, per_frame)
