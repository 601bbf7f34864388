"""Strings of digits in noise, and drawn mouths that speak them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

RATE = 8_000  # Hz
LENGTH = 16_000  # values: two seconds
FILMED = 50  # frames: 25 a second
HEIGHT, WIDTH = 16, 24  # pixels of a mouth
DIGITS = (3, 4)  # spoken in a string, at least and at most
GAP = (0.03, 0.12)  # seconds between two of them
LOUD = 0.5  # the largest value of a clean string
RATIOS = (0, 5, 10)  # dB of speech over noise
LIPS, SKIN, INSIDE = 0.8, 0.5, 0.1  # light
WIDE, FLAT, THICK = 8.0, 0.6, 1.6  # half the width of a closed mouth, half its least height, and its lips, in pixels
OPEN, ROUND = 5.5, 2.5  # how many pixels it opens and narrows at most
GRAIN = 0.04
QUIET = 1e-3  # of the largest loudness: below it the mouth is shut


def strings(clips: Mapping[str, Sequence[Array]], count: int, rng: np.random.RandomState) -> tuple[Array, list[str]]:
    """Strings of three or four recordings of one speaker, (count, 16,000), and their speakers.

    Args:
        clips: by speaker, recordings without silence around them.
    """
    waves, speakers = np.zeros((count, LENGTH)), []
    names = sorted(clips)
    for row in range(count):
        speaker = names[rng.randint(len(names))]
        waves[row] = _string(clips[speaker], rng)
        speakers.append(speaker)
    loudest = np.abs(waves).max(1, keepdims=True)
    scaled: Array = LOUD * waves / loudest
    return scaled, speakers


def _string(clips: Sequence[Array], rng: np.random.RandomState) -> Array:
    wave, place = np.zeros(LENGTH), rng.randint(int(GAP[1] * RATE))
    for _ in range(rng.randint(DIGITS[0], DIGITS[1] + 1)):
        clip = clips[rng.randint(len(clips))][: LENGTH - place]
        wave[place : place + len(clip)] += clip
        place += len(clip) + int(rng.uniform(*GAP) * RATE)
        if place >= LENGTH:
            break
    return wave


def trimmed(wave: Array, share: float = 0.02) -> Array:
    """A recording without what is quieter than a share of its loudest value at both ends."""
    loud = np.flatnonzero(np.abs(wave) > share * np.abs(wave).max())
    return wave[loud[0] : loud[-1] + 1] if len(loud) else wave


def coloured(count: int, rng: np.random.RandomState) -> Array:
    """Noise (count, 16,000) whose power falls with frequency, each with a slope of its own between
    white and brown.
    """
    spectrum = np.fft.rfft(rng.normal(size=(count, LENGTH)))
    frequency = np.maximum(np.arange(spectrum.shape[1]), 1)
    noise: Array = np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1, (count, 1)), LENGTH)
    return noise


def mixed(clean: Array, noise: Array, ratios: Array) -> Array:
    """Speech (S, T) with noise added at so many dB (S,), kept in [-1, 1]."""
    power = (clean**2).mean(1, keepdims=True) / np.maximum((noise**2).mean(1, keepdims=True), 1e-12)
    found: Array = (clean + noise * np.sqrt(power / 10 ** (ratios[:, None] / 10))).clip(-1, 1)
    return found


def mouths(clean: Array, rng: np.random.RandomState) -> Array:
    """Mouths (S, 1, 50, 16, 24) in [0, 1] that speak clean strings (S, 16,000): how far one opens
    follows the loudness, how round it is the balance of low and high frequencies. With grain.
    """
    windows = clean.reshape(len(clean), FILMED, -1)
    loudness = np.sqrt((windows**2).mean(2))
    largest = loudness.max(1, keepdims=True)
    opening = np.sqrt(np.where(loudness > QUIET * largest, loudness / largest, 0))
    rounding = _lowness(windows) * (opening > 0)
    place = rng.uniform(-1, 1, (len(clean), 2, 1, 1, 1))
    light = _drawn(opening[..., None, None], rounding[..., None, None], place)
    shown: Array = np.rint(255 * (light + GRAIN * rng.normal(size=light.shape)).clip(0, 1)) / 255
    return shown[:, None].astype(np.float32)


def _lowness(windows: Array) -> Array:
    """The share of the power of windows (S, F, n) below 700 Hz, where rounded vowels have it."""
    power = np.abs(np.fft.rfft(windows * np.hanning(windows.shape[2]))) ** 2
    split = int(700 * windows.shape[2] / RATE)
    found: Array = power[..., :split].sum(2) / np.maximum(power.sum(2), 1e-12)
    return found


def _drawn(opening: Array, rounding: Array, place: Array) -> Array:
    """Lips around an ellipse, the same face in every frame, (S, F, 16, 24)."""
    down = np.arange(HEIGHT)[:, None] - (HEIGHT - 1) / 2 - place[:, 0]
    across = np.arange(WIDTH) - (WIDTH - 1) / 2 - place[:, 1]
    wide, high = WIDE - ROUND * rounding, FLAT + OPEN * opening
    inner = (across / wide) ** 2 + (down / high) ** 2
    outer = (across / (wide + THICK)) ** 2 + (down / (high + THICK)) ** 2
    found: Array = np.where(inner <= 1, INSIDE, np.where(outer <= 1, LIPS, SKIN))
    return found
