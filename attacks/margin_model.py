"""A linear model of a margin, learnt from queries at small changes (Kaczmarz's method).

A query at a change tells the slope along it, and no more. So a model of many values needs many
queries, unless its slope has little structure to learn: gradients of sounds and images are large in
few places and at few wavelengths. The values are grouped by place and wavelength, and each query
tries a wave of the group where the model has explained least so far. In a sound, most queries
instead make its own part in the group louder or quieter, because many networks read the energy of
a sound there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attacks.norms import per_sample
from attacks.region import Inputs

LENGTH = 64  # values of an axis with one place; longer axes have more, up to ...
PLACES = 16  # ... so many in a row, and in an image this number's root along each axis
BANDS = 8  # of wavelengths; likewise
GREEDY = 0.8  # share of the queries in the group of the largest error; the others are random
KEPT = 0.6  # of a group's error so far, in its running mean
SOUND = 512  # values of a row from which it is read as a sound
OWN = 0.8  # share of the queries of a sound along its own parts: a spectrogram's slope lies along them
PIECE = 0.25  # of a band that such a part has
NUMBERS = 6  # random numbers of one query
TINY = 1e-12


@dataclass(frozen=True)
class Groups:
    """The groups of one modality: places times wavelengths along its last axes.

    Attributes:
        shape: of one sample.
    """

    shape: tuple[int, ...]

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """Those along which values are neighbours: the last two, or the only one."""
        return tuple(range(max(0, len(self.shape) - 2), len(self.shape)))

    @cached_property
    def places(self) -> tuple[int, ...]:
        """How many places there are along each of these axes."""
        most = PLACES if len(self.axes) == 1 else math.isqrt(PLACES)
        return tuple(
            min(most, max(1, self.shape[axis] // (LENGTH if len(self.axes) == 1 else LENGTH // 8)))
            for axis in self.axes
        )

    @cached_property
    def bands(self) -> tuple[int, ...]:
        """How many bands of wavelengths there are along each of these axes."""
        most = BANDS if len(self.axes) == 1 else math.isqrt(PLACES)
        return tuple(min(most, max(1, self.shape[axis] // 2)) for axis in self.axes)

    def __len__(self) -> int:
        return math.prod(self.places) * math.prod(self.bands)

    @property
    def sound(self) -> bool:
        """Whether it is so long a row of values that it has parts by place and wavelength."""
        return len(self.shape) == 1 and self.shape[0] >= SOUND

    def part(self, x: Tensor, group: Tensor, draws: Tensor) -> Tensor:
        """A sound (B, T) in the place, and in a piece of the band, of each sample's group; of
        size 1 at most.
        """
        length = x.shape[1]
        place, band = group % self.places[0], group // self.places[0]
        rate = torch.linspace(0, self.bands[0], length // 2 + 1, device=x.device)
        low = (band + (1 - PIECE) * draws[:, 3])[:, None]
        part = torch.fft.irfft(torch.fft.rfft(x) * ((rate >= low) & (rate <= low + PIECE)), n=length)
        inside = torch.arange(length, device=x.device) * self.places[0] // length == place[:, None]
        part = torch.where(inside, part, 0.0)
        most = part.abs().amax(1, keepdim=True)
        return torch.where(most > TINY, part / most.clamp_min(TINY), 0.0)

    def wave(self, group: Tensor, draws: Tensor) -> Tensor:
        """A cosine in the place and the band of each sample's group (B,), float32 (B, *shape)."""
        phase, inside = draws[:, 2], torch.ones(len(group), *self.shape, dtype=torch.bool, device=group.device)
        phase = per_sample(phase, inside).expand(inside.shape)
        for number, axis in enumerate(self.axes):
            length, places, bands = self.shape[axis], self.places[number], self.bands[number]
            place, group = group % places, group // places
            band, group = group % bands, group // bands
            rate = 0.5 * (band + draws[:, 3 + number]) / bands
            along = torch.arange(length, device=group.device).reshape(
                *[1] * (axis + 1), length, *[1] * (len(self.shape) - axis - 1)
            )
            inside = inside & (along * places // length == per_sample(place, inside))
            phase = phase + per_sample(rate, phase) * along
        for axis in range(len(self.shape) - len(self.axes)):  # such as colours: each with a phase of its own
            along = torch.arange(self.shape[axis], device=group.device)
            phase = phase + 0.5 * (
                torch.remainder((along + 1) * 0.6180339887 * (1 + per_sample(7 * draws[:, 5], phase).flatten(1)), 1)
                < 0.5
            ).float().reshape(-1, *[1] * axis, len(along), *[1] * (len(self.shape) - axis - 1))
        return torch.where(inside, torch.cos(2 * math.pi * phase), 0.0)


class MarginModel:
    """A linear model of the margins of a batch.

    Args:
        like: the modalities that may move, (B, ...).

    Attributes:
        slope: of the margin in each value, float32 (B, ...), in the units of the changes that it
            learns from.
    """

    def __init__(self, like: Mapping[str, Tensor]) -> None:
        self.slope: Inputs = {name: torch.zeros_like(x, dtype=torch.float32) for name, x in like.items()}
        self.like = {name: x.float() for name, x in like.items()}
        self.groups = {name: Groups(tuple(x.shape[1:])) for name, x in like.items()}
        first = next(iter(like.values()))
        self.error = torch.full((len(first), sum(map(len, self.groups.values()))), math.inf, device=first.device)
        self.chosen = torch.zeros(len(first), dtype=torch.int64, device=first.device)
        self.turn: dict[str, Tensor] = {}  # the rows whose wave is in a modality, bool (B,)

    @property
    def values(self) -> int:
        """How many values the slope of a sample has."""
        return sum(x[0].numel() for x in self.slope.values())

    def waves(self, draws: Tensor) -> Inputs:
        """The changes that teach most, by random numbers (B, NUMBERS): a wave in one modality."""
        worst = self.error.argmax(1)
        anywhere = (draws[:, 1] * self.error.shape[1]).long()
        self.chosen = torch.where(draws[:, 0] < GREEDY, worst, anywhere)
        waves, first = {}, 0
        for name, groups in self.groups.items():
            group = self.chosen - first
            mine = self.turn[name] = (group >= 0) & (group < len(groups))
            group = group.clamp(0, len(groups) - 1)
            wave = groups.wave(group, draws)
            if groups.sound:
                part = groups.part(self.like[name], group, draws)
                wave = torch.where(((draws[:, 4] < OWN) & (part != 0).any(1))[:, None], part, wave)
            waves[name] = torch.where(per_sample(mine, wave), wave, 0.0)
            first += len(groups)
        return waves

    def learn(self, rows: Tensor, changes: Mapping[str, Tensor], rise: Tensor) -> None:
        """One step of Kaczmarz's method: in these rows, bool (B,), the model now explains that the
        changes raised the margin by so much, (B,).
        """
        size = sum(x.flatten(1).square().sum(1) for x in changes.values())
        guessed = sum((self.slope[name] * x).flatten(1).sum(1) for name, x in changes.items())
        excess = torch.where(rows & (size > 0), (rise - guessed) / (size + TINY), 0.0)
        for name, x in changes.items():
            self.slope[name] += per_sample(excess, x).float() * x.float()
        before = self.error.gather(1, self.chosen[:, None]).squeeze(1)
        found = (excess.square() * size).float()
        mean = torch.where(before.isinf(), found, KEPT * before + (1 - KEPT) * found)
        self.error.scatter_(1, self.chosen[:, None], torch.where(rows & (size > 0), mean, before)[:, None])
