"""AVDCNN (Hou et al., 2017): every frame of clean speech from five noisy ones and five mouths, with
a second head that draws the mouth.

The paper's sizes are recalled and not read: ours are smaller. Frames are those of a spectrum of 129
bins at 8 kHz.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.models.fused import Fused, without_missing
from harness.models.option_types import NotNegative, OneOrMore
from harness.models.recipe import Stage
from harness.models.scheduled import Scheduled
from harness.models.speech.spectra import BINS, TINY, Spectrum, magnitude, paced, sound_and_film
from harness.tasks import Batch, Modality, Task

AROUND = 2  # frames before and after the one that is predicted
FRAMES = 2 * AROUND + 1
IN_TIME = 2  # frames under the kernel of the convolution over the spectrum
FLOOR = 1e-4  # of the power, below which a bin is silent


def log_power(spectra: Tensor) -> Tensor:
    """The log-power (B, 129, F) of spectra (B, 2, 129, F)."""
    return (magnitude(spectra).square() + FLOOR).log()


class Hearing(nn.Module):
    """Spectra (B, 2, 129, F) to features of every frame (B, F, n): the log power of five frames,
    convolved over frequency and time.

    The windows of five frames overlap, so the whole spectrum is convolved once, and each frame
    takes the positions that lie in its window.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 10, (12, IN_TIME)), nn.ReLU(), nn.MaxPool2d((2, 1)), nn.Conv2d(10, 4, (5, 1)), nn.ReLU()
        )

    def forward(self, spectra: Tensor) -> Tensor:
        powers = F.pad(log_power(spectra), (AROUND, AROUND), mode="replicate")
        maps = self.layers(powers[:, None])
        return maps.unfold(3, FRAMES - IN_TIME + 1, 1).permute(0, 3, 1, 2, 4).flatten(2)  # type: ignore[no-any-return]


class Seeing(nn.Module):
    """A film (B, C, F, H, W) in raw units to features of every frame (B, F, n), from five frames.

    Frames outside of the film repeat its ends.
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(FRAMES * modality.shape[0], 12, 5, 2, 2), nn.ReLU(),
            nn.Conv2d(12, 10, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(10, 6, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, film: Tensor) -> Tensor:
        ends = [film[:, :, place].unsqueeze(2).expand(-1, -1, AROUND, -1, -1) for place in (0, -1)]
        padded = torch.cat([ends[0], film, ends[1]], 2)
        around = padded.unfold(2, FRAMES, 1).permute(0, 2, 1, 5, 3, 4)
        windows = around.flatten(0, 1).flatten(1, 2)
        return self.layers(windows).flatten(1).unflatten(0, (len(film), -1))  # type: ignore[no-any-return]


class TwoHeads(nn.Module):
    """Both features of each frame side by side, two layers, then the clean log power and the mouth.

    Args:
        length: T, of the answer.
        heard, seen: how many features a frame has.
        pixels: of a mouth.
    """

    def __init__(self, length: int, heard: int, seen: int, pixels: int, hidden: int) -> None:
        super().__init__()
        self.length, self.spectrum, self.hearing = length, Spectrum(), Hearing()
        self.merged = nn.Sequential(nn.Linear(heard + seen, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.sound, self.mouth = (
            nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, count)) for count in (BINS, pixels)
        )

    def heads(self, features: list[Tensor], here: Tensor) -> tuple[Tensor, Tensor]:
        """The clean log power (B, 129, F) and the mouth at every frame (B, F, pixels)."""
        spectra, lips = without_missing(features, here)
        heard = self.hearing(spectra)
        seen = paced(lips.transpose(1, 2), heard.shape[1]).transpose(1, 2)
        merged = self.merged(torch.cat([heard, seen], 2))
        return self.sound(merged).transpose(1, 2), self.mouth(merged)

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        """The waves (B, T), with the noisy phase; silence where the sound is missing."""
        spectra = without_missing(features, here)[0]
        power = self.heads(features, here)[0].exp() - FLOOR
        scale = power.clamp_min(0).add(TINY).sqrt() / magnitude(spectra)
        return self.spectrum.back(scale[:, None] * spectra, self.length)


class Avdcnn(Scheduled):
    """‖ŷ_a - y_a‖² + μ ‖ŷ_v - y_v‖²: the clean log power and the mouth itself; AdamW, a warm-up and
    a cosine.

    Args:
        mu: the weight of the mouth.
    """

    heeds_present = False

    def __init__(self, mu: NotNegative = 0.1, epochs: OneOrMore = 20, last: bool = False) -> None:
        super().__init__(epochs=epochs, batch_size=32, last=last)
        self.mu = mu

    def setup(self, model: nn.Module, task: Task, epochs: int | None) -> Sequence[Stage]:
        """One stage over all parameters.

        Raises:
            BadInput: the model has no two heads.
        """
        if not isinstance(model, Fused) or not isinstance(model.fusion, TwoHeads):
            raise BadInput("recipe 'avdcnn' trains a head for the sound and one for the mouth: train model 'avdcnn'")
        self.whole, self.fusion, self.film = model, model.fusion, sound_and_film(task, "avdcnn")[1].name
        return super().setup(model, task, epochs)

    def step(self, batch: Batch, stage: Stage) -> Tensor:
        """The mean of both squared errors."""
        features = {name: self.whole.encode(name, batch.inputs[name]) for name in self.whole.encoded}
        power, mouth = self.fusion.heads(*self.whole.ordered(features, None))
        clean = log_power(self.fusion.spectrum(batch.targets[:, 0]))
        film = batch.inputs[self.film].transpose(1, 2).flatten(2).transpose(1, 2)
        drawn = paced(film, mouth.shape[1]).transpose(1, 2)
        return (power - clean).square().mean() + self.mu * (mouth - drawn).square().mean()


def avdcnn(task: Task, hidden: OneOrMore = 256) -> Fused:
    """AVDCNN (Hou et al.): every clean frame from five noisy ones and five mouths, two heads.

    Args:
        hidden: of the layers after the merge; 1000 and 800 in the paper, as recalled.

    Raises:
        BadInput: the task does not ask for a sound, or lacks the sound or the video.
    """
    sound, film = sound_and_film(task, "avdcnn")
    seeing = Seeing(film)
    with torch.no_grad():
        spectra = Spectrum()(torch.zeros(1, *sound.shape))
        heard, seen = Hearing()(spectra).shape[2], seeing(torch.zeros(1, *film.shape)).shape[2]
    pixels = film.shape[0] * film.shape[2] * film.shape[3]
    fusion = TwoHeads(sound.shape[0], heard, seen, pixels, hidden)
    return Fused(task, {sound.name: Spectrum(), film.name: seeing}, fusion)
