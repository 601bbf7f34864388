"""Sounds as spectra, and the streams of a sound and of a mouth that share one pace in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.tasks import Modality, Task
from harness.tasks.problems.enhancement import Enhancement

WINDOW, STEP = 256, 64  # values of a frame, and from one to the next
BINS = WINDOW // 2 + 1
LOUDER = 30.0  # of magnitudes before the logarithm, so that quiet ones are seen, too
TINY = 1e-8


class Spectrum(nn.Module):
    """Waves (B, T) to their short-time Fourier transform, real and imaginary part, (B, 2, 129, F),
    and back.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        found = torch.stft(waves, WINDOW, STEP, window=self.window, center=True, return_complex=True)
        return torch.view_as_real(found).permute(0, 3, 1, 2)

    def back(self, spectra: Tensor, length: int) -> Tensor:
        """The waves (B, length) of spectra (B, 2, 129, F)."""
        held = torch.view_as_complex(spectra.permute(0, 2, 3, 1).contiguous())
        waves: Tensor = torch.istft(held, WINDOW, STEP, window=self.window, center=True, length=length)
        return waves


def magnitude(spectra: Tensor) -> Tensor:
    """The magnitude (B, 129, F) of spectra (B, 2, 129, F)."""
    return (spectra.square().sum(1) + TINY).sqrt()


def loudness(spectra: Tensor) -> Tensor:
    """The logarithm that networks see, (B, 129, F)."""
    return (LOUDER * magnitude(spectra)).log1p()


class Lips(nn.Module):
    """A film of a mouth (B, C, F, H, W) in raw units to features of its frames (B, wide, F)."""

    def __init__(self, modality: Modality, wide: int) -> None:
        super().__init__()
        colours, _, height, width = modality.shape
        low, high = (float(end.mean()) for end in modality.valid.ends)
        self.middle, self.spread = (low + high) / 2, (high - low) / 2
        self.layers = nn.Sequential(
            nn.Conv3d(colours, 12, (3, 5, 5), (1, 2, 2), (1, 2, 2)),
            nn.ReLU(),
            nn.Conv3d(12, 24, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
            nn.ReLU(),
        )
        self.mixed = nn.Linear(24 * -(-height // 4) * -(-width // 4), wide)

    def forward(self, film: Tensor) -> Tensor:
        maps = self.layers((film - self.middle) / self.spread)
        frames: Tensor = self.mixed(maps.transpose(1, 2).flatten(2)).relu()
        return frames.transpose(1, 2)


def paced(lips: Tensor, frames: int) -> Tensor:
    """Features (B, C, F) of a film at the pace of a spectrum, (B, C, frames), linear in time."""
    return F.interpolate(lips, size=frames, mode="linear", align_corners=True)


def sound_and_film(task: Task, model: str) -> tuple[Modality, Modality]:
    """The sound to be enhanced and the film of the mouth.

    Raises:
        BadInput: the task does not ask for a sound, or has not one sound of that length and one
            video.
    """
    sounds = [each for each in task.modalities if each.kind == "audio" and each.shape == task.problem.shape]
    films = [each for each in task.modalities if each.kind == "video"]
    if not isinstance(task.problem, Enhancement) or len(sounds) != 1 or len(films) != 1:
        raise BadInput(
            f"model {model!r} takes the noise out of a sound and sees the speaker: it needs one sound, as long as the"
            f" answer, and one video, which task {task.name!r} does not have; choose a task such as 'speech'"
        )
    return sounds[0], films[0]
