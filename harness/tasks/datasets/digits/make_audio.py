"""Make the spoken digits of the embedded task. Run once; its output is committed.

Needs the Debian packages ``espeak-ng`` (1.51 was used) and ``flite`` (2.2 was used)::

    python -m harness.tasks.datasets.digits.make_audio

Every voice speaks the ten digits once. A voice is an espeak-ng speaker variant or a flite speaker
and belongs to one split; the accents of the splits are disjoint as well, so that a test voice
shares neither its speaker nor its accent with a training voice. Speed and pitch vary from clip to
clip.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
from collections.abc import Iterator
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from harness.tasks.datasets.digits import CLIP_SECONDS, SAMPLE_RATE

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = {
    "train": ("en", "en-us", "en-029", "en-gb-x-gbcwmd"),
    "val": ("en-us-nyc", "en-gb-scotland"),
    "test": ("en-gb-x-rp", "en-gb-x-gbclan"),
}
FLITE = {"train": ("kal16", "rms"), "val": ("awb",), "test": ("slt",)}
SHARES = {"train": 0.62, "val": 0.13, "test": 0.25}


def variants() -> list[str]:
    """The speaker variants espeak-ng ships, by file name; duplicates of one speaker fall together.

    ``robosoft2`` and ``robosoft5`` are one speaker, and so on: names that differ only in the
    trailing number are kept once, except the numbered generic males and females, which do differ.
    """
    listing = subprocess.run(["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True).stdout
    names = sorted(word[3:] for word in listing.split() if word.startswith("!v/"))
    speakers: dict[str, str] = {}
    for name in names:
        generic = name[0] in "mf" and name[1:].isdigit()
        speakers.setdefault(name if generic else name.rstrip("0123456789").lower(), name)
    return sorted(speakers.values())


def assign(names: list[str], seed: int = 0) -> dict[str, list[str]]:
    """Deal the speakers out to the splits, each to one."""
    names = names.copy()
    random.Random(seed).shuffle(names)
    val, test = (round(SHARES[split] * len(names)) for split in ("val", "test"))
    return {"val": names[:val], "test": names[val : val + test], "train": names[val + test :]}


def trimmed(wave: np.ndarray, rate: int) -> np.ndarray:
    """One clip: 8 kHz, silence cut off both ends, peak 0.9, zero-padded to the common length."""
    common = gcd(rate, SAMPLE_RATE)
    wave = resample_poly(wave, SAMPLE_RATE // common, rate // common)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    wave = wave[loud[0] : loud[-1] + 1][: int(CLIP_SECONDS * SAMPLE_RATE)]
    clip = np.zeros(int(CLIP_SECONDS * SAMPLE_RATE))
    clip[: len(wave)] = 0.9 * wave / np.abs(wave).max()
    return clip


def spoken(command: list[str], path: Path) -> np.ndarray:
    subprocess.run(command, check=True, capture_output=True)
    wave, rate = soundfile.read(path)
    return trimmed(wave, rate)


def clips(split: str, speakers: list[str], rng: random.Random) -> Iterator[tuple[dict[str, object], np.ndarray]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        for number, speaker in enumerate(speakers):
            accent = ACCENTS[split][number % len(ACCENTS[split])]
            for digit, word in enumerate(WORDS):
                speed, pitch = rng.randint(160, 230), rng.randint(30, 70)
                voice = ["espeak-ng", "-v", f"{accent}+{speaker}", "-s", str(speed), "-p", str(pitch)]
                wave = spoken([*voice, "-w", str(path), word], path)
                yield {"digit": digit, "voice": f"espeak:{speaker}", "accent": accent}, wave
        for speaker in FLITE[split]:
            for digit, word in enumerate(WORDS):
                stretch = rng.uniform(0.75, 1.05)
                voice = ["flite", "-voice", speaker, "--setf", f"duration_stretch={stretch:.2f}"]
                wave = spoken([*voice, "-t", word, "-o", str(path)], path)
                yield {"digit": digit, "voice": f"flite:{speaker}", "accent": f"flite:{speaker}"}, wave


def main() -> None:
    folder = Path(__file__).parent / "data"
    folder.mkdir(exist_ok=True)
    index: dict[str, list[dict[str, object]]] = {}
    rng = random.Random(0)
    for split, speakers in sorted(assign(variants()).items()):
        rows, waves = zip(*clips(split, speakers, rng), strict=True)
        index[split] = list(rows)
        soundfile.write(folder / f"{split}.flac", np.concatenate(waves), SAMPLE_RATE, format="FLAC", subtype="PCM_S8")
    (folder / "clips.json").write_text(json.dumps(index, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
