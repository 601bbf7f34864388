"""A sound played into the room where the microphone listens (after Qin et al., ICML 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attacks.edits.edit import Place, Turn
from attacks.norms import per_sample
from attacks.randomness import keyed_generator

ECHOES = 6
LATEST = 0.05  # the last echo, as a share of the clip
DECAY = 3.0  # the latest echo is weaker by this many e-folds
QUIETEST = 0.5  # gain of the loudspeaker
NOISE = 0.1  # noise of the loudspeaker, as a share of its sound (-20 dB)
LONGEST, SHORTEST = 0.5, 0.05  # the first and the last step, as shares of the radius


class OverTheAir:
    """A sound δ with |δ| ≤ the radius, played beside the clip (T,) or (C, T).

    The model receives x' = clamp(x + g (h ∗ δ + n)): h the direct sound and six echoes of drawn
    delay (up to 5 % of the clip), sign and strength, falling off exponentially; the gain g from 0.5
    to 1; n white noise 20 dB under δ, so that nothing is heard where nothing is played.
    """

    name = "air"
    summary = "a quiet sound played in a room: echoes, gain and noise are drawn"
    draws = 2 * ECHOES + 2
    kinds: tuple[str, ...] = ("audio",)
    shared = False

    def fault(self, place: Place) -> str | None:
        return (
            None
            if place.x.ndim == 2 or (place.x.ndim == 3 and place.x.shape[1] < place.x.shape[2])
            else f"has shape {tuple(place.x.shape[1:])} per sample, but a sound must be a waveform (T,) or (C, T)"
        )

    def size(self, x: Tensor, moved: Tensor) -> Tensor:
        """The loudest value of the sound."""
        return (moved.double() - x.double()).abs().flatten(1).amax(1)

    def start(self, place: Place, budget: Tensor, chance: Tensor) -> Tensor:
        return self._kept(place, place.x + per_sample(budget, chance).to(place.x.dtype) * (2 * chance - 1), budget)

    def move(self, place: Place, budget: Tensor, turn: Turn) -> Tensor:
        length = SHORTEST + (LONGEST - SHORTEST) * (1 + math.cos(math.pi * turn.step / turn.steps)) / 2
        step = length * per_sample(budget, turn.at).to(place.x.dtype) * turn.gradient.sign()
        return self._kept(place, turn.at + step, budget)

    def _kept(self, place: Place, values: Tensor, budget: Tensor) -> Tensor:
        radius = per_sample(budget, values).to(values.dtype)
        return place.clamp(torch.minimum(torch.maximum(values, place.x - radius), place.x + radius))

    def received(self, place: Place, moved: Tensor, draw: Tensor) -> Tensor:
        if moved.ndim == 3:  # every channel hears the same room
            parts = zip(*(x.unbind(1) for x in (place.x, place.low, place.high, moved)), strict=True)
            return torch.stack([self.received(Place(*ends), each, draw) for *ends, each in parts], 1)
        played, length = moved - place.x, moved.shape[1]
        draw = draw.to(moved.dtype)
        delays, signed = draw[:, :ECHOES], 2 * draw[:, ECHOES : 2 * ECHOES] - 1
        weight = signed * torch.exp(-DECAY * delays)
        place_of = 1 + (delays * LATEST * length).floor().long()
        response = torch.zeros(len(moved), int(LATEST * length) + 2, dtype=moved.dtype, device=moved.device)
        response = response.scatter_add(1, place_of, weight)
        response[:, 0] = 1.0
        total = length + response.shape[1]
        heard = torch.fft.irfft(torch.fft.rfft(played, total) * torch.fft.rfft(response, total), total)[:, :length]
        gain = QUIETEST + (1 - QUIETEST) * draw[:, -2:-1]
        loudness = (played.square().mean(1, keepdim=True) + torch.finfo(moved.dtype).tiny).sqrt()
        noise = NOISE * loudness * _noise(length, draw[:, -1], moved)
        silent = (played == 0).all(1, keepdim=True)
        return torch.where(silent, moved, place.clamp(place.x + gain * (heard + noise)))


def _noise(length: int, offset: Tensor, like: Tensor) -> Tensor:
    """White noise of unit power that starts at the position that the draw (B,) gives, (B,
    length).
    """
    wave = torch.randn(length, generator=keyed_generator("air", length)).to(like)
    along = torch.arange(length, device=like.device)[None]
    return wave[(along + (offset * length).long()[:, None]) % length]
