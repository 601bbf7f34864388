"""Free Spoken Digit Dataset: English digits by six speakers, 8 kHz mono, in [-1, 1] (Jackson et
al., CC BY-SA 4.0).

Recordings are named ``{digit}_{speaker}_{index}``, 50 of each digit by each speaker, 0.14 to 2.28 s
long.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.tasks.files.dataroot import data_path
from harness.tasks.files.sounds import read_sound

SAMPLE_RATE = 8_000
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES = 50


def waveforms(recordings: Sequence[str], length: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Recordings of one length, float32 (N, length) in [-1, 1], and which values are real, bool (N,
    length).

    A shorter recording stands in the middle of zeros; of a longer one the middle is kept.

    Raises:
        NoData: a recording is not there.
        BadInput: it cannot be read as one channel of 8 kHz, see `read_sound`.
    """
    waves, real = np.zeros((len(recordings), length), np.float32), np.zeros((len(recordings), length), bool)
    for row, name in enumerate(recordings):
        wave = _read(data_path("fsdd", f"recordings/{name}.wav"))
        skipped, before = max(0, len(wave) - length) // 2, max(0, length - len(wave)) // 2
        kept = wave[skipped : skipped + length]
        waves[row, before : before + len(kept)] = kept
        real[row, before : before + len(kept)] = True
    return waves, real


def _read(path: Path) -> NDArray[Any]:
    return read_sound(path, SAMPLE_RATE)
