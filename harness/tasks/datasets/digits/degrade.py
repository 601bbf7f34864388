"""Make the raw material hard enough that no modality alone is enough.

The amounts are in the data card.
"""

from __future__ import annotations

import numpy as np

IMAGE_NOISE = 3.0  # standard deviation, in units of the 0-16 range
OCCLUSION = 4  # side of the square that is blanked, in pixels of 8
AUDIO_NOISE = (0.02, 0.1)  # standard deviation, drawn per clip; the clip's peak is 0.9
TYPOS = (0.6, 0.3, 0.1)  # chances of zero, one, two
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def degraded_image(pixels: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Gaussian noise and one blanked square at a random place; values stay in 0-16."""
    noisy = np.clip(pixels + rng.normal(0, IMAGE_NOISE, pixels.shape), 0, 16)
    top, left = rng.randint(0, 9 - OCCLUSION, size=2)
    noisy[top : top + OCCLUSION, left : left + OCCLUSION] = 0
    return noisy


def degraded_audio(wave: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """A random start within the silence after the word, and white noise; values stay in [-1, 1]."""
    sounding = np.flatnonzero(wave)
    slack = len(wave) - 1 - (sounding[-1] if len(sounding) else 0)
    shifted = np.roll(wave, rng.randint(0, slack + 1))
    return np.clip(shifted + rng.normal(0, rng.uniform(*AUDIO_NOISE), wave.shape), -1, 1)


def misspelt(word: str, rng: np.random.RandomState) -> str:
    """None, one or two typing errors: a letter replaced, doubled, dropped, or swapped with the
    next.
    """
    letters = list(word)
    for _ in range(rng.choice(len(TYPOS), p=TYPOS)):
        place, letter = rng.randint(len(letters)), LETTERS[rng.randint(len(LETTERS))]
        error = rng.choice(["replace", "double", "drop", "swap"])
        if error == "replace":
            letters[place] = letter
        elif error == "double":
            letters.insert(place, letters[place])
        elif error == "drop" and len(letters) > 2:
            del letters[place]
        elif error == "swap" and place + 1 < len(letters):
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)
