"""A clock that runs late or early: one modality shifted in time against the others."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.edits.edit import Place, Turn, whole

CHANNELS = 4  # sounds commonly have no more
EXPLORED = 0.7  # share of the steps that try a new shift; the rest keep the best one


class TimeShift:
    """A waveform (T,), a sequence (T, F), or a sound of several channels (C, T), moved by whole
    steps along time, measured in steps; the gap holds zero.

    With two axes, the first is time, unless it has at most four values and the second has more:
    then the first is the channels.

    There is one number to find. For a linear model, a gradient ranks all shifts (a correlation).
    For other models a gradient is reliable for small shifts only. So evenly spread shifts are
    tried, and the best one is kept while the other modalities are attacked.
    """

    name = "shift"
    summary = "a waveform or sequence moved in time, by so many steps"
    draws = 0
    kinds: tuple[str, ...] = ("audio",)
    shared = False

    def fault(self, place: Place) -> str | None:
        if place.x.ndim not in (2, 3):
            return (
                f"has shape {tuple(place.x.shape[1:])} per sample, but a shift needs a waveform (T,) or (C, T), or a"
                " sequence (T, F)"
            )
        if not bool(((place.low <= 0) & (place.high >= 0) & (place.low < place.high)).all()):
            return "holds padding, or its range lacks zero, but a shift moves every step and fills the gap with zeros"
        return None

    def size(self, x: Tensor, moved: Tensor) -> Tensor:
        """The shortest shift that makes `moved` of `x`."""
        x, moved = _time_first(x), _time_first(moved)
        found = torch.full((len(x),), float("inf"), dtype=torch.float64, device=x.device)
        for steps in range(x.shape[1]):
            for signed in {steps, -steps}:
                same = (_shifted(x, torch.full((len(x),), signed, device=x.device)) == moved).flatten(1).all(1)
                found = torch.where(same & found.isinf(), float(steps), found)
            if bool(found.isfinite().all()):
                break
        return found

    def start(self, place: Place, budget: Tensor, chance: Tensor) -> Tensor:
        return _shifted(place.x, self._steps(place, budget, chance.flatten(1)[:, 0].double()))

    def move(self, place: Place, budget: Tensor, turn: Turn) -> Tensor:
        if turn.step >= EXPLORED * turn.steps:
            return turn.best
        return _shifted(place.x, self._steps(place, budget, torch.full_like(budget, _spread(turn.step + 1))))

    def _steps(self, place: Place, budget: Tensor, share: Tensor) -> Tensor:
        """From -budget at a share of 0 to +budget at 1."""
        most = whole(budget).clamp(max=_time_first(place.x).shape[1] - 1)
        return ((2 * most + 1) * share - most - 0.5).round().clamp(-most, most).long()

    def gains(self, place: Place, gradient: Tensor, most: int) -> Tensor:
        return self._gained(place, gradient, most)[0]

    def best_edit(self, place: Place, budget: Tensor, gradient: Tensor) -> Tensor:
        most = min(int(whole(budget).max()), _time_first(place.x).shape[1] - 1)
        steps = self._gained(place, gradient, most)[1]
        return _shifted(place.x, steps.gather(1, whole(budget).clamp(max=most).long()[:, None]).squeeze(1))

    def _gained(self, place: Place, gradient: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """The gain of the best shift of at most 0, 1, ...

        `most` steps, and that shift, (B, most + 1).
        """
        x, weights = (
            each.flatten(2) if each.ndim > 2 else each[:, :, None] for each in map(_time_first, (place.x, gradient))
        )
        length = x.shape[1]
        spectrum = torch.fft.rfft(weights, 2 * length, dim=1) * torch.fft.rfft(x, 2 * length, dim=1).conj()
        # at s (or 2T + s below zero): the sum of weights[i] x[i - s]
        total = torch.fft.irfft(spectrum, 2 * length, dim=1).sum(2)
        size = torch.arange(min(most, length - 1) + 1, device=x.device)
        later, earlier = total[:, size], total[:, -size]
        best = torch.maximum(later, earlier)
        gained, place_of = (best - total[:, :1]).cummax(1)
        signed = torch.where(later >= earlier, size, -size).gather(1, place_of)
        lacking = most + 1 - gained.shape[1]
        return torch.cat([gained, gained[:, -1:].repeat(1, lacking)], 1), torch.cat(
            [signed, signed[:, -1:].repeat(1, lacking)], 1
        )

    def received(self, place: Place, moved: Tensor, draw: Tensor) -> Tensor:
        return moved


def _shifted(x: Tensor, steps: Tensor) -> Tensor:
    """Each sample moved by its own number of steps (B,), zeros in the gap."""
    if _channels_first(x):
        return _shifted(x.transpose(1, 2), steps).transpose(1, 2).contiguous()
    source = torch.arange(x.shape[1], device=x.device)[None] - steps[:, None]
    inside = (source >= 0) & (source < x.shape[1])
    source = source.clamp(0, x.shape[1] - 1)
    if x.ndim == 3:
        source, inside = source[:, :, None].expand_as(x), inside[:, :, None]
    return torch.where(inside, x.gather(1, source), 0.0)


def _channels_first(x: Tensor) -> bool:
    return x.ndim == 3 and x.shape[1] <= CHANNELS < x.shape[2]


def _time_first(x: Tensor) -> Tensor:
    """The same values, (B, T) or (B, T, F)."""
    return x.transpose(1, 2) if _channels_first(x) else x


def _spread(number: int) -> float:
    """The van der Corput sequence: 1/2, 1/4, 3/4, 1/8, ..."""
    share, step = 0.0, 0.5
    while number:
        share, step, number = share + step * (number % 2), step / 2, number // 2
    return share
