"""Films of data sets, read by PyAV (extra `video`): some of their frames, and their sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import BadInput

Array = NDArray[Any]
Box = tuple[float, float, float, float]

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
INSTALL = "install PyAV: pip install multimodal-robustness-harness[video]"


def read_frames(path: Path, count: int | None, size: tuple[int, int], box: Box = WHOLE) -> Array:
    """Frames of a film, evenly spaced from the first to the last, (F, 3, height, width) in [0, 1],
    float32.

    Args:
        count: F; None: all.
        size: height and width; frames are scaled by area.
        box: the part that is kept: left, top, right and bottom as shares of the picture.

    Raises:
        BadInput: PyAV is not installed, or the film cannot be read or has no frame.
    """
    pictures = _pictures(path)
    chosen = range(len(pictures)) if count is None else np.linspace(0, len(pictures) - 1, count).round().astype(int)
    held = [_scaled(pictures[at], size, box) for at in chosen]
    return np.stack(held).astype(np.float32) / np.float32(255)


def read_track(path: Path, rate: int) -> Array:
    """The sound of a film, its channels averaged, float32 (T,) in [-1, 1], resampled to a rate.

    Raises:
        BadInput: PyAV is not installed, or the film cannot be read or has no sound.
    """
    av = _av()
    try:
        with av.open(str(path)) as film:
            if not film.streams.audio:
                raise BadInput(f"{path} has no sound: fetch it again")
            resampler = av.AudioResampler("flt", "mono", rate)
            parts = [part for frame in film.decode(audio=0) for part in resampler.resample(frame)]
            parts += resampler.resample(None)
    except (av.error.FFmpegError, OSError) as error:
        raise BadInput(f"{path} cannot be read: {error}; fetch it again") from None
    wave = np.concatenate([part.to_ndarray().reshape(-1) for part in parts]) if parts else np.empty(0)
    if not len(wave):
        raise BadInput(f"{path} has no sound: fetch it again")
    return wave.clip(-1, 1).astype(np.float32)


def _pictures(path: Path) -> list[Array]:
    """All frames, (H, W, 3), uint8."""
    av = _av()
    try:
        with av.open(str(path)) as film:
            pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise BadInput(f"{path} cannot be read: {error}; fetch it again") from None
    if not pictures:
        raise BadInput(f"{path} has no frame: fetch it again")
    return pictures


def _scaled(picture: Array, size: tuple[int, int], box: Box) -> Array:
    """A part of a picture (H, W, 3) as (3, height, width)."""
    from PIL import Image

    tall, wide = picture.shape[:2]
    left, top, right, bottom = (share * end for share, end in zip(box, (wide, tall, wide, tall), strict=True))
    shown = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BOX, (left, top, right, bottom))
    return np.moveaxis(np.asarray(shown), -1, 0)


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise BadInput(f"films are read by PyAV, which is not installed: {INSTALL}") from None
    return av
