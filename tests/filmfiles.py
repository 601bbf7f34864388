"""Small films, skeletons and recordings in the layouts of published data sets."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile


def write_film(path: Path, pictures: np.ndarray, wave: np.ndarray | None = None, rate: int = 44_100) -> None:
    """Pictures (F, H, W, 3), uint8, at 25 frames a second, and perhaps a sound in [-1, 1]."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as film:
        codec = "mpeg1video" if path.suffix == ".mpg" else "mpeg4"
        shown = film.add_stream(codec, rate=25)
        shown.height, shown.width, shown.pix_fmt, shown.bit_rate = *pictures.shape[1:3], "yuv420p", 4_000_000
        heard = film.add_stream("mp2", rate=rate, layout="mono") if wave is not None else None
        for picture in pictures:
            film.mux(shown.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(shown.encode(None))
        if heard is not None and wave is not None:
            frame = av.AudioFrame.from_ndarray((32767 * wave).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            film.mux(heard.encode(frame))
            film.mux(heard.encode(None))


def write_skeleton(path: Path, bodies: np.ndarray) -> None:
    """Bodies (T, M, 25, 3) in the text layout of NTU RGB-D; a body of NaN is not seen."""
    lines = [str(len(bodies))]
    for frame in bodies:
        there = [(72057594037931101 + number, body) for number, body in enumerate(frame) if np.isfinite(body).all()]
        lines.append(str(len(there)))
        for name, body in there:
            lines += [f"{name} 0 1 1 1 1 0 0.02 0.1 2", "25"]
            lines += [f"{x:.7f} {y:.7f} {z:.7f} 250.1 208.2 980.5 540.1 0.2 -0.04 0.9 -0.2 2" for x, y, z in body]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_ntu(folder: Path) -> None:
    """One sequence of each side, and one that is left out."""
    rng = np.random.RandomState(0)
    for subject, action in ((1, 1), (2, 60), (3, 7), (6, 9)):
        name = f"S001C001P{subject:03d}R001A{action:03d}"
        bodies = rng.uniform(-1, 1, (12, 2, 25, 3)) + np.array([0, 0, 3])
        if action == 1:
            bodies[:, 1] = np.nan
        write_skeleton(folder / f"nturgb+d_skeletons/{name}.skeleton", bodies)
        pictures = np.full((10, 48, 64, 3), 40 * subject, np.uint8)
        write_film(folder / f"nturgb+d_rgb/{name}_rgb.avi", pictures)
    (folder / "missing_skeletons.txt").write_text("S001C001P006R001A009\n")


def write_noise(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.RandomState(1)
    for name in ("doing_the_dishes", "exercise_bike", "dude_miaowing", "running_tap"):
        soundfile.write(folder / f"{name}.wav", rng.uniform(-0.3, 0.3, 16_000 * 4), 16_000, subtype="PCM_16")


def write_grid(folder: Path) -> None:
    """Four speakers with one film each; and the noise beside them."""
    rng, rate = np.random.RandomState(2), 44_100
    for speaker in range(1, 5):
        pictures = np.full((75, 72, 90, 3), 50 * speaker, np.uint8)
        wave = 0.3 * np.sin(2 * np.pi * 110 * speaker * np.arange(3 * rate) / rate) + 0.01 * rng.randn(3 * rate)
        write_film(folder / f"s{speaker}/bbaf{speaker}n.mpg", pictures, wave, rate)
    write_noise(folder.parent / "noise")


SAID = {
    "61-70968-0000": "HE BEGAN A CONFUSED COMPLAINT",
    "61-70968-0001": "IT'S LATE",
    "84-121123-0000": "GO DO YOU HEAR",
}


def write_librispeech(folder: Path) -> None:
    """Three recordings by two speakers: two short ones as FLAC, and one of two seconds as WAV."""
    rng = np.random.RandomState(3)
    for row, (name, text) in enumerate(SAID.items()):
        speaker, chapter, _ = name.split("-")
        place = folder / "test-clean" / speaker / chapter
        place.mkdir(parents=True, exist_ok=True)
        count, ending = (32_000, "wav") if row == 1 else (8_000, "flac")
        soundfile.write(place / f"{name}.{ending}", rng.uniform(-0.5, 0.5, count), 16_000, subtype="PCM_16")
        with (place / f"{speaker}-{chapter}.trans.txt").open("a") as file:
            file.write(f"{name} {text}\n")


WRITERS = {"ntu-rgbd": write_ntu, "grid": write_grid, "librispeech": write_librispeech}
